use gradient_domain::Moment;
use gradient_storage::{
    Conn,
    build_durations::{self, BuildDuration},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_one_row_for_each_package, keeps_those_that_changed_last);

fn duration(name: &str, log_mean: f32, at: i64) -> BuildDuration {
    BuildDuration {
        name: name.to_owned(),
        system: "x86_64-linux".to_owned(),
        fixed: false,
        log_mean,
        log_variance: 0.25,
        observations: 1,
        updated_at: Moment::from_micros(at),
    }
}

async fn keeps_one_row_for_each_package(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (hello, gcc) = (duration("hello", 1.5, 1), duration("gcc", 7.25, 2));
        let fetched = BuildDuration { fixed: true, ..duration("gcc", -3.5, 3) };
        build_durations::put_many(conn, &[hello.clone(), gcc.clone(), fetched.clone()]).await?;
        assert_eq!(build_durations::list(conn).await?, [hello.clone(), gcc, fetched.clone()]);
        let slower = BuildDuration { observations: 2, ..duration("gcc", 8.0, 4) };
        build_durations::put_many(conn, std::slice::from_ref(&slower)).await?;
        assert_eq!(build_durations::list(conn).await?, [hello, fetched, slower]);
        Ok(())
    })
    .await;
}

async fn keeps_those_that_changed_last(url: &str) {
    with(url, async |conn: &mut Conn| {
        let all = ["a", "b", "c"].map(|name| duration(name, 1.0, i64::from(name.as_bytes()[0])));
        build_durations::put_many(conn, &all).await?;
        assert_eq!(build_durations::delete_beyond(conn, 3).await?, 0);
        assert_eq!(build_durations::delete_beyond(conn, 1).await?, 2);
        let [_, _, last] = all;
        assert_eq!(build_durations::list(conn).await?, [last]);
        Ok(())
    })
    .await;
}
