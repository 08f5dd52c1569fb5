//! Text in the Nix language.

/// A text as a Nix string literal, which is that text and nothing else.
pub(crate) fn nix_string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' | '$' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            // Nix has no way to write it, and no text of its own that holds it.
            '\0' => {}
            _ => literal.push(character),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_the_quotes() {
        assert_eq!(nix_string("a.b-c"), r#""a.b-c""#);
        assert_eq!(nix_string("\"${x}\\\n"), r#""\"\${x}\\\n""#);
        assert_eq!(nix_string("$${x}"), r#""\$\${x}""#);
    }
}
