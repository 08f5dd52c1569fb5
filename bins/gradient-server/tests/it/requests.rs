//! What the API refuses, and why.

use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{Installation, this_system};
use serde_json::json;

use crate::trial::{LIMIT, Setting, Trial, refusal};

#[test]
fn a_wildcard_that_does_not_parse_is_refused_by_name() {
    let trial = Trial::without_worker(&Setting::usual()).unwrap().unwrap();
    trial.run(|trial| {
        for pattern in ["packages..hello", ".packages", "packages.x86 _64-linux", "!packages.*", "cats.*"] {
            let result = trial.installation.create_project("wrong", &trial.repository.url(), pattern);
            let sentence = refusal(result, (400, "validation"));
            assert!(sentence.contains(pattern), "{sentence}");
        }
        Ok(())
    });
}

#[test]
fn a_wildcard_that_matches_nothing_is_a_warning() {
    Trial::usual().unwrap().run(|trial| {
        let wildcard = format!("packages.{}.diamond-base,hydraJobs.*", this_system());
        trial.installation.create_project("nothing", &trial.repository.url(), &wildcard)?;
        let evaluation = trial.installation.evaluate("nothing")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed", "{:?}", evaluation.messages()?);
        let messages = evaluation.messages()?;
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert_eq!(messages[0].get("level"), Some(&json!("Warning")));
        assert!(field(&messages[0], "message")?.contains("hydraJobs.*"), "{messages:?}");
        Ok(())
    });
}

#[test]
fn an_unreachable_repository_is_refused_in_gits_words() {
    let trial = Trial::without_worker(&Setting::usual()).unwrap().unwrap();
    trial.run(|trial| {
        trial.installation.create_project("gone", "file:///nonexistent/repository", "packages.*")?;
        let sentence = refusal(trial.installation.evaluate("gone"), (400, "repository_unreachable"));
        assert!(sentence.contains("/nonexistent/repository"), "{sentence}");
        assert!(sentence.contains("does not exist") || sentence.contains("not appear to be a git repository"), "{sentence}");
        Ok(())
    });
}

#[test]
fn without_credentials_nothing_private_is_told_from_nothing() {
    let trial = Trial::without_worker(&Setting::usual()).unwrap().unwrap();
    trial.run(|trial| {
        let anonymous = trial.installation.server().api();
        for organization in [Installation::ORGANIZATION, "nobody"] {
            refusal(anonymous.get(&format!("/orgs/{organization}")), (401, "unauthorized"));
        }
        Ok(())
    });
}
