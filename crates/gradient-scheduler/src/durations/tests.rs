//! What is expected of packages after some were seen.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::{DurationHistory, DurationSummary, Package, UNKNOWN_DURATION};

fn package(derivation: &str) -> Package<'_> {
    Package::of_derivation(derivation, "x86_64-linux", false)
}

fn history(observed: &[(&str, u32)]) -> DurationHistory {
    let mut history = DurationHistory::default();
    for &(derivation, secs) in observed {
        history.record(package(derivation), Duration::from_secs(secs.into()));
    }
    history
}

fn expected(history: &DurationHistory, derivation: &str) -> u64 {
    (history.expect(package(derivation)) + Duration::from_millis(500)).as_secs()
}

#[test]
fn a_name_ends_before_its_version() {
    let name = |derivation| Package::of_derivation(derivation, "", false).name();
    assert_eq!(name("hello-2.12"), "hello");
    assert_eq!(name("perl5.24.3-Digest-HMAC_SHA1-1.03"), "perl5.24.3-Digest-HMAC_SHA1");
    assert_eq!(name("Flask-Babel-0.11.1.tar.gz"), "Flask-Babel");
    assert_eq!(name("xf86-video-cirrus"), "xf86-video-cirrus");
    assert_eq!(name("odd-"), "odd-");
    assert_eq!(name("größe-ä-1"), "größe-ä");
    assert_eq!(name(""), "");
}

#[test]
fn the_same_package_says_most_whatever_its_version() {
    let history = history(&[("gcc-6.4", 900), ("gcc-wrapper-6.4", 1), ("gcc-7.2", 900)]);
    assert_eq!((expected(&history, "gcc-8.1"), expected(&history, "gcc-wrapper-8.1")), (900, 1));
}

#[test]
fn then_the_same_one_for_another_system_or_release() {
    let history = history(&[("linux-4.9", 1200), ("python2.7-numpy-1.13", 100)]);
    let arm = Package::of_derivation("linux-4.14", "aarch64-linux", false);
    assert_eq!(history.expect(arm).as_secs(), 1200);
    assert_eq!(expected(&history, "python3.6-numpy-1.14"), 100);
}

#[test]
fn then_those_that_begin_alike() {
    let modules = ["A", "B", "C", "D", "E", "F", "G", "H"].map(|name| format!("perl5.24.3-{name}-1"));
    let mut observed = vec![("chromium-62", 9000), ("libreoffice-5", 7000), ("hello-2", 5)];
    observed.extend(modules.iter().map(|name| (name.as_str(), 2)));
    let history = history(&observed);
    assert!(expected(&history, "perl5.24.3-Foo-Bar-1") < 20);
    assert!(expected(&history, "new-1") > 50);
}

#[test]
fn then_the_mean_of_its_class() {
    let mut history = history(&[("a-1", 100), ("b-1", 100)]);
    history.record(Package::of_derivation("a-1.tar.gz", "x86_64-linux", true), Duration::from_secs(1));
    let fetch = Package::of_derivation("c-1.tar.gz", "x86_64-linux", true);
    assert_eq!((expected(&history, "c-1"), history.expect(fetch).as_secs_f64().round()), (100, 1.0));
    assert_eq!(DurationHistory::default().expect(fetch), UNKNOWN_DURATION);
}

#[test]
fn one_that_hangs_is_not_believed_but_a_change_is() {
    let mut history = history(&[("a-1", 10); 8]);
    history.record(package("a-1"), Duration::from_hours(10));
    assert!(expected(&history, "a-1") < 20);
    for _ in 0..8 {
        history.record(package("a-1"), Duration::from_secs(100));
    }
    assert!((70..=130).contains(&expected(&history, "a-1")));
}

#[test]
fn what_is_stored_is_known_again() {
    let before = history(&[("a-1", 10), ("a-1", 30), ("perl5.24.3-B-1", 2), ("c-1", 500)]);
    let mut after = DurationHistory::default();
    for name in ["a", "perl5.24.3-B", "c"] {
        after.restore(package(name), before.summary(package(name)).unwrap());
    }
    for name in ["a-2", "perl5.24.3-B-2", "c-2"] {
        assert_eq!(expected(&after, name), expected(&before, name));
        assert_eq!(after.summary(package(name)), before.summary(package(name)));
    }
    assert_eq!((before.summary(package("d")), after.len()), (None, before.len()));
    let broken = DurationSummary { log_mean: f32::NAN, log_variance: 0.0, observations: 1 };
    after.restore(package("d"), broken);
    assert_eq!(after.summary(package("d")), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_estimate_is_among_what_was_observed(secs in vec(1..100_000_u32, 1..40)) {
        let (least, most) = (*secs.iter().min().unwrap(), *secs.iter().max().unwrap());
        let history = history(&secs.iter().map(|&secs| ("a-1", secs)).collect::<Vec<_>>());
        let expected = history.expect(package("a-1")).as_secs_f64();
        prop_assert!(expected >= f64::from(least) * 0.999 && expected <= f64::from(most) * 1.001, "{expected}");
    }

    #[test]
    fn one_observation_shifts_it_by_a_factor_of_three_at_most(secs in vec(1..100_000_u32, 1..40), last: u32) {
        let mut history = history(&secs.iter().map(|&secs| ("a-1", secs)).collect::<Vec<_>>());
        let before = history.expect(package("a-1")).as_secs_f64();
        history.record(package("a-1"), Duration::from_millis(last.into()));
        let factor = history.expect(package("a-1")).as_secs_f64() / before;
        prop_assert!((0.33..3.0).contains(&factor), "{factor}");
    }

    #[test]
    fn any_name_is_taken(derivation: String, system: String, fixed_output: bool, millis: u64) {
        let mut history = DurationHistory::default();
        let package = Package::of_derivation(&derivation, &system, fixed_output);
        history.record(package, Duration::from_millis(millis));
        prop_assert!(history.len() >= 3 && history.expect(package) > Duration::ZERO);
        let other = Package::of_derivation("other", &system, fixed_output);
        prop_assert!(history.expect(other) > Duration::ZERO);
    }
}
