//! The subcommands: what the people do who run the server's machine. They work on the server's database, whether it runs or not.

mod password;
mod verify_store;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use gradient_auth::{PasswordHasher, Sealer};
use gradient_domain::{DisplayName, Email, Username};
use gradient_engine::{Administration, NewUser};
use gradient_storage::{BackupError, Storage, backup};
use gradient_worker::WrongSetting;

use crate::{arguments::Arguments, secrets, start};
use password::PasswordSource;

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes users, promotes them, verifies their addresses and gives them new passwords.
    #[command(subcommand, arg_required_else_help = false)]
    User(UserCommand),

    /// Copies the SQLite database into a new file, while the server runs.
    Backup {
        /// The file to make; one that is there already is left alone.
        file: PathBuf,
    },

    /// Seals all keys at rest with the first secret of the crypt secret file. To replace that secret, put a new one in front of
    /// it, restart the server, reseal, and remove the old one.
    Reseal,

    /// Reads every stored NAR again, while the server runs, and says what is missing, corrupt or superfluous; ends with 1 when
    /// something is.
    VerifyStore {
        /// Puts corrupt files aside and hides what is missing until it comes again, writes listings anew, and removes files
        /// without a row that are older than a day.
        #[arg(long)]
        repair: bool,
    },

    /// Prints the description of the REST API (OpenAPI 3.1, YAML), which the server also shows at /api/docs.
    Openapi,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Makes a user, also where nobody may register.
    Create(NewUserArguments),

    /// Makes a user a superuser, who may do what concerns the whole server.
    Promote {
        /// The login name.
        username: Username,
    },

    /// Counts a user's address as verified, for when no mail reaches it.
    VerifyEmail {
        /// The login name.
        username: Username,
    },

    /// Gives a user a new password, and ends all of the user's sessions.
    ResetPassword {
        /// The login name.
        username: Username,

        #[command(flatten)]
        password: PasswordSource,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewUserArguments {
    /// The login name.
    #[arg(long)]
    username: Username,

    /// The name that others read.
    #[arg(long)]
    name: DisplayName,

    /// The email address.
    #[arg(long, value_name = "ADDRESS")]
    email: Email,

    /// Lets the user do what concerns the whole server.
    #[arg(long)]
    superuser: bool,

    #[command(flatten)]
    password: PasswordSource,
}

/// Does what the command says, and says what was done.
pub(crate) async fn run(command: Command, arguments: &Arguments) -> anyhow::Result<()> {
    let said = match command {
        Command::User(UserCommand::Create(wanted)) => create_user(wanted, arguments).await,
        Command::User(UserCommand::Promote { username }) => promote_user(username, arguments).await,
        Command::User(UserCommand::VerifyEmail { username }) => verify_email(username, arguments).await,
        Command::User(UserCommand::ResetPassword { username, password }) => reset_password(username, &password, arguments).await,
        Command::Backup { file } => back_up(&file, arguments).await,
        Command::Reseal => reseal(arguments).await,
        Command::VerifyStore { repair } => verify_store::run(repair, arguments).await,
        Command::Openapi => gradient_api::openapi().to_yaml().context("cannot write the description"),
    }?;
    println!("{}", said.trim_end());
    Ok(())
}

async fn create_user(wanted: NewUserArguments, arguments: &Arguments) -> anyhow::Result<String> {
    let NewUserArguments { username, name, email, superuser, password } = wanted;
    let password = password.read()?;
    // The first user can be made before the server is ever started.
    let administration = Administration::new(start::storage(&start::database_url(arguments, &start::base(arguments)?)?).await?);
    let said = format!("made the {} {username}", if superuser { "superuser" } else { "user" });
    administration.create_user(&hasher()?, NewUser { username, name, email, password, superuser }).await?;
    Ok(said)
}

async fn promote_user(username: Username, arguments: &Arguments) -> anyhow::Result<String> {
    let said = format!("{username} is a superuser");
    administration(arguments).await?.promote_user(username).await?;
    Ok(said)
}

async fn verify_email(username: Username, arguments: &Arguments) -> anyhow::Result<String> {
    let said = format!("the address of {username} counts as verified");
    administration(arguments).await?.verify_email(username).await?;
    Ok(said)
}

async fn reset_password(username: Username, password: &PasswordSource, arguments: &Arguments) -> anyhow::Result<String> {
    let password = password.read()?;
    let name = username.clone();
    let sessions = administration(arguments).await?.reset_password(&hasher()?, username, password).await?;
    Ok(format!("{name} has the new password; sessions ended: {sessions}"))
}

async fn back_up(file: &Path, arguments: &Arguments) -> anyhow::Result<String> {
    let database = start::database_url(arguments, &start::base(arguments)?)?;
    match backup(&database, file).await {
        Ok(()) => Ok(format!("copied the database to {}", file.display())),
        Err(BackupError::Postgres) => {
            Err(WrongSetting::new("GRADIENT_DATABASE_URL", "names a PostgreSQL database: use pg_dump to back it up").into())
        }
        Err(BackupError::Missing(path)) => Err(missing(&path).into()),
        Err(error) => Err(error.into()),
    }
}

async fn reseal(arguments: &Arguments) -> anyhow::Result<String> {
    let base = start::base(arguments)?;
    let file = arguments.crypt_secret_file.clone().unwrap_or_else(|| base.join("crypt-secret"));
    let keys = secrets::CRYPT.read(&file)?;
    let storage = existing_storage(arguments).await?;
    secrets::CRYPT.check(&storage, &keys, &file).await?;
    let resealed = Administration::new(storage.clone()).reseal(&Sealer::new(&keys)).await?;
    // From now on the older secrets can be removed from the file.
    secrets::CRYPT.know_newest(&storage, &keys).await?;
    Ok(format!(
        "sealed again: SSH keys of organizations: {}, signing keys of caches: {}; already sealed with the newest secret: {}",
        resealed.ssh_keys, resealed.signing_keys, resealed.current
    ))
}

async fn administration(arguments: &Arguments) -> anyhow::Result<Administration> {
    Ok(Administration::new(existing_storage(arguments).await?))
}

/// The database, which is not made when it is not there: then the setting is wrong.
async fn existing_storage(arguments: &Arguments) -> anyhow::Result<Storage> {
    let database = start::database_url(arguments, &start::base(arguments)?)?;
    match database.sqlite_path() {
        Some(path) if !path.is_file() => Err(missing(path).into()),
        _ => start::storage(&database).await,
    }
}

fn missing(path: &Path) -> WrongSetting {
    WrongSetting::new("GRADIENT_DATABASE_URL", &format!("leads to {}, where there is no database", path.display()))
}

fn hasher() -> anyhow::Result<PasswordHasher> {
    PasswordHasher::new(NonZeroUsize::MIN, &mut rand::rng()).context("cannot hash passwords")
}
