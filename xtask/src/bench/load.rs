//! The load: a few connections, each asking again as soon as it has its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::http::{self, Connection};
use super::proc;

/// Requests before the measurement, on each connection.
const WARM_UP: usize = 20;

/// Against whom, and how hard.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Host and port.
    pub(super) address: String,
    /// What every request carries.
    pub(super) token: String,
    /// The server's process.
    pub(super) process: u32,
    pub(super) connections: usize,
    pub(super) duration: Duration,
}

/// What came out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) per_second: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
    /// The server's processor time for one request.
    pub(super) cpu: Duration,
    /// The mean size of an answer's body.
    pub(super) bytes: usize,
}

/// Asks for paths, each time one of `paths` by chance, until the time is over. Every answer has to be a 200.
pub(super) fn measure(target: &Target, paths: &[String]) -> Result<Measured> {
    if paths.is_empty() {
        bail!("there is nothing to ask for");
    }
    let headers = format!("authorization: Bearer {}\r\naccept: application/json\r\n", target.token);
    let requests: Vec<Vec<u8>> = paths.iter().map(|path| http::get(&target.address, path, &headers)).collect();
    let mut connections = (0..target.connections).map(|_| Connection::open(&target.address)).collect::<Result<Vec<_>>>()?;
    for (number, connection) in connections.iter_mut().enumerate() {
        for request in requests.iter().cycle().skip(number).take(WARM_UP) {
            ask(connection, request)?;
        }
    }

    let cpu_before = proc::cpu_time(target.process)?;
    let (started, stop) = (Instant::now(), AtomicBool::new(false));
    let finished: Vec<Result<(Vec<Duration>, usize)>> = thread::scope(|scope| {
        let spawn = |(seed, connection)| {
            let (requests, stop, deadline) = (&requests, &stop, started + target.duration);
            scope.spawn(move || ask_until(deadline, stop, connection, requests, seed))
        };
        let threads: Vec<_> = (0..).zip(connections).map(spawn).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a connection's thread panicked"))))
            .collect()
    });
    let (elapsed, cpu) = (started.elapsed(), proc::cpu_time(target.process)?.saturating_sub(cpu_before));

    let (mut times, mut bytes) = (Vec::new(), 0);
    for result in finished {
        let (of_connection, read) = result?;
        times.extend(of_connection);
        bytes += read;
    }
    summarize(times, bytes, elapsed, cpu)
}

fn ask_until(
    deadline: Instant,
    stop: &AtomicBool,
    mut connection: Connection,
    requests: &[Vec<u8>],
    seed: u64,
) -> Result<(Vec<Duration>, usize)> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut times, mut bytes) = (Vec::with_capacity(1 << 16), 0);
    while Instant::now() < deadline && !stop.load(Ordering::Relaxed) {
        let Some(request) = requests.get(random.random_range(0..requests.len())) else { break };
        let started = Instant::now();
        let read = ask(&mut connection, request).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        times.push(started.elapsed());
        bytes += read;
    }
    Ok((times, bytes))
}

fn ask(connection: &mut Connection, request: &[u8]) -> Result<usize> {
    let answer = connection.exchange(request)?;
    if answer.status != 200 {
        let asked = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
        bail!("{asked}: {} {}", answer.status, String::from_utf8_lossy(answer.body));
    }
    Ok(answer.body.len())
}

fn summarize(mut times: Vec<Duration>, bytes: usize, elapsed: Duration, cpu: Duration) -> Result<Measured> {
    times.sort_unstable();
    let at = |per_mille: usize| times.get((times.len() * per_mille / 1000).min(times.len().saturating_sub(1))).copied();
    let (Some(p50), Some(p99), Some(max)) = (at(500), at(990), at(1000)) else { bail!("no request was answered in time") };
    let requests = times.len();
    let count = u32::try_from(requests)?;
    let per_second = f64::from(count) / elapsed.as_secs_f64();
    Ok(Measured { per_second, p50, p99, max, cpu: cpu / count, bytes: bytes / requests })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (1..=1000).rev().map(Duration::from_millis).collect();
        let measured = summarize(times, 3000, Duration::from_secs(2), Duration::from_secs(1)).unwrap();
        assert_eq!([measured.p50, measured.p99, measured.max], [501, 991, 1000].map(Duration::from_millis));
        assert_eq!((measured.bytes, measured.cpu), (3, Duration::from_millis(1)));
        assert!((measured.per_second - 500.0).abs() < 0.01);
        assert!(summarize(vec![], 0, Duration::from_secs(1), Duration::ZERO).is_err());
    }
}
