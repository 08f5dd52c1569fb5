use gradient_domain::{Concurrency, OrganizationId, Priority, Publish};

use super::*;

fn project(last_check_at: Option<Moment>) -> Project {
    Project {
        id: ProjectId::new(),
        organization: OrganizationId::new(),
        name: "main".parse().unwrap(),
        display_name: "Main".parse().unwrap(),
        description: String::new(),
        repository: "https://example.com/main.git".parse().unwrap(),
        branch: None,
        wildcard: "packages.*.#".parse().unwrap(),
        active: true,
        keep_evaluations: 30,
        concurrency: Concurrency::SoftAbort,
        poll_interval_secs: 60,
        publish: Publish::Runtime,
        allow_ifd: false,
        priority: Priority::default(),
        last_check_at,
        created_by: None,
        created_at: at(0),
        deleted_at: None,
    }
}

fn at(seconds: i64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

fn schedule(project: &Project) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.update(std::slice::from_ref(project));
    schedule
}

#[test]
fn a_turn_comes_at_once_and_then_after_the_interval() {
    let mut main = project(None);
    let mut schedule = schedule(&main);
    assert!(schedule.is_due(&main, at(1000)));
    schedule.begin(main.id);
    assert!(!schedule.is_due(&main, at(9000)), "never two looks at one project at a time");
    main.last_check_at = Some(at(1000));
    assert_eq!(schedule.end(main.id, Ok(()), 100), Outcome::Same);
    assert!(!schedule.is_due(&main, at(1065)), "the jitter is waited for as well");
    assert!(schedule.is_due(&main, at(1066)));
    main.poll_interval_secs = 5;
    assert!(schedule.is_due(&main, at(1006)), "a changed interval is taken at once");
    assert!(schedule.is_due(&main, at(10)), "a clock that was set back stops nothing");
}

#[test]
fn failures_are_told_once_and_backed_off() {
    let main = project(Some(at(1000)));
    let mut schedule = schedule(&main);
    assert_eq!(schedule.end(main.id, Err(()), 0), Outcome::Failing);
    assert_eq!(schedule.end(main.id, Err(()), 0), Outcome::Same);
    assert!(!schedule.is_due(&main, at(1239)));
    assert!(schedule.is_due(&main, at(1240)));
    for _ in 0..100 {
        schedule.end(main.id, Err(()), 0);
    }
    assert!(!schedule.is_due(&main, at(1000 + 3599)));
    assert!(schedule.is_due(&main, at(1000 + 3600)), "not longer than an hour");
    assert_eq!(schedule.end(main.id, Ok(()), 0), Outcome::Recovered);
    assert!(schedule.is_due(&main, at(1060)));
}

#[test]
fn another_repository_is_looked_at_at_once() {
    let mut main = project(Some(at(1000)));
    let mut schedule = schedule(&main);
    schedule.end(main.id, Err(()), 0);
    schedule.begin(main.id);
    main.branch = Some("next".to_owned());
    schedule.update(std::slice::from_ref(&main));
    assert!(!schedule.is_due(&main, at(1001)), "the look at the old branch goes on");
    schedule.end(main.id, Ok(()), 0);
    assert!(schedule.is_due(&main, at(1001)));
    schedule.begin(main.id);
    schedule.end(main.id, Ok(()), 0);
    assert!(!schedule.is_due(&main, at(1001)));
}

#[test]
fn what_is_not_polled_has_no_turn() {
    let main = project(None);
    let mut schedule = schedule(&main);
    schedule.update(&[]);
    assert!(!schedule.is_due(&main, at(1000)));
}

#[test]
fn organizations_take_turns() {
    let (many, few, one) = (OrganizationId::new(), OrganizationId::new(), OrganizationId::new());
    let of = |organization, last| Project { organization, ..project(Some(at(last))) };
    // The first have waited longest, but one of theirs was looked at lately.
    let mut polled: Vec<Project> = (0..10).map(|last| of(many, last)).collect();
    polled.extend([of(many, 900), of(few, 500), of(few, 400), of(one, 600)]);
    let mut schedule = Schedule::default();
    schedule.update(&polled);
    let turns = |schedule: &Schedule, free| -> Vec<(OrganizationId, Option<Moment>)> {
        let turns = schedule.turns(polled.clone(), at(1000), free).into_iter();
        turns.map(|project| (project.organization, project.last_check_at)).collect()
    };
    let order =
        [(few, 400), (one, 600), (many, 0), (few, 500), (many, 1)].map(|(organization, last)| (organization, Some(at(last))));
    assert_eq!(turns(&schedule, 100), order, "and no more than two of one organization at a time");
    assert_eq!(turns(&schedule, 3), order[..3]);
    assert_eq!(turns(&schedule, 0), []);

    for project in &polled[..2] {
        schedule.begin(project.id);
    }
    assert_eq!(turns(&schedule, 100), [order[0], order[1], order[3]], "those who do not answer delay their own only");
    schedule.end(polled[0].id, Err(()), 0);
    assert_eq!(turns(&schedule, 100), [order[0], order[1], order[3], order[2]]);
}
