//! SQL functions that diesel does not bring along.

use diesel::sql_types::Text;
use gradient_domain::sql::Word;

#[diesel::declare_sql_function]
extern "SQL" {
    /// The text in lower case, as the database sees it: what the unique indexes on names of users are over.
    fn lower(text: Word) -> Text;

    /// The same of a text that is no name.
    #[sql_name = "lower"]
    fn lower_text(text: Text) -> Text;

    /// How many characters a text has.
    fn length(text: Text) -> Integer;
}
