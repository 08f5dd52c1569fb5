//! Throws a fault at a running evaluation.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gradient_test_support::deployment::Evaluation;
use rustix::process::Signal;

use super::intruder;
use super::leaders;
use super::plan::{Fault, Strike};
use super::proxy::{Way, Weather};
use super::site::{Site, signal};

/// How long a piece waits at most when all are delayed.
const DELAY: Duration = Duration::from_millis(400);

/// How far the clock jumps, in seconds.
const JUMP: i64 = 2 * 60 * 60;

/// Lets the fault strike, and returns when it was over.
pub(super) fn strike(site: &mut Site, evaluation: &Evaluation, fault: Fault, strike: &Strike) -> Result<Instant> {
    let lasts = strike.lasts;
    match fault {
        Fault::ServerKilled => {
            site.installation.server().process().kill();
            sleep(lasts);
            return start_server(site);
        }
        Fault::LeaderKilled => return leaders::kill(site),
        Fault::LeaderStopped => return leaders::stop(site, strike),
        Fault::WorkerKilled => {
            site.kill_worker()?;
            sleep(lasts);
            let over = Instant::now();
            site.start_worker()?;
            return Ok(over);
        }
        Fault::ServerStopped => {
            let server = site.installation.server().process().id();
            stop(server, lasts)?;
        }
        Fault::WorkerStopped => stop(site.worker_process()?, lasts)?,
        Fault::Cut => weather(site, Weather::Cut, lasts),
        Fault::HalfCut => weather(site, Weather::Held(strike.way), lasts),
        Fault::Silent => site.proxy.silence(strike.way),
        Fault::Loss => weather(site, Weather::Lossy, lasts * 2),
        Fault::Delayed => weather(site, Weather::Slow(DELAY), lasts * 2),
        Fault::Doubled => weather(site, Weather::Doubled, lasts * 2),
        Fault::Late => {
            sleep(lasts);
            site.proxy.repeat_all();
        }
        Fault::DiskFull | Fault::WorkerDiskFull => {
            let ballast = site.disk.as_ref().context("there is no small disk")?.fill()?;
            sleep(lasts);
            fs::remove_file(ballast)?;
        }
        Fault::Clock => {
            site.set_clock(if strike.way == Way::ToServer { JUMP } else { -JUMP })?;
            sleep(lasts);
            site.set_clock(0)?;
        }
        Fault::PostgresKilled | Fault::PostgresRestarted => {
            let postgres = site.postgres.as_mut().context("the server has no PostgreSQL")?;
            if fault == Fault::PostgresKilled {
                postgres.kill()?;
            } else {
                postgres.shut_down()?;
            }
            sleep(lasts);
            let over = Instant::now();
            postgres.start_again()?;
            return Ok(over);
        }
        Fault::PowerLoss => {
            site.installation.server().process().kill();
            site.disk.as_mut().context("the server has no disk of its own")?.lose_power()?;
            return start_server(site);
        }
        Fault::PostgresPowerLoss => {
            let postgres = site.postgres.as_mut().context("the server has no PostgreSQL")?;
            postgres.kill_all()?;
            site.disk.as_mut().context("PostgreSQL has no disk of its own")?.lose_power()?;
            sleep(lasts);
            let over = Instant::now();
            postgres.start_again()?;
            return Ok(over);
        }
        Fault::Forged => intruder::forge(site, evaluation, strike.way, lasts * 2)?,
        Fault::Twins => {
            let mut twin = site.start_twin()?;
            sleep(lasts * 2);
            twin.process().kill();
        }
    }
    Ok(Instant::now())
}

fn start_server(site: &mut Site) -> Result<Instant> {
    let over = Instant::now();
    site.installation.server().start_again()?;
    Ok(over)
}

fn stop(process: u32, lasts: Duration) -> Result<()> {
    signal(process, Signal::STOP)?;
    sleep(lasts);
    signal(process, Signal::CONT)
}

fn weather(site: &Site, weather: Weather, lasts: Duration) {
    site.proxy.set(weather);
    sleep(lasts);
    site.proxy.set(Weather::Clear);
}
