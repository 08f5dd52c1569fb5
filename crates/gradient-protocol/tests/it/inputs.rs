//! Inputs of builds, which since the first version may be elsewhere.

use gradient_domain::{Epoch, Job};
use gradient_protocol::{Task, ToWorker, UpstreamNar, decode, encode};

use crate::messages;

#[test]
fn where_an_input_is_travels_with_it() {
    let (_, assign) = messages::of_servers().into_iter().find(|(name, _)| *name == "server.assign.build").unwrap();
    let ToWorker::Assign { job, epoch, peer, task } = assign else { panic!("{assign:?}") };
    let Task::Build(mut build) = *task else { panic!("{task:?}") };
    let here = encode(&assigned(job, epoch, peer, Task::Build(build.clone()))).unwrap();
    build.inputs[0].upstream = Some(UpstreamNar {
        url: "https://cache.example/nar/1.nar.xz".into(),
        compression: "xz".into(),
        public_key: "cache-1:AAAA".into(),
        signature: "cache-1:BBBB".into(),
        local: false,
    });
    let message = assigned(job, epoch, peer, Task::Build(build));
    let frame = encode(&message).unwrap();
    assert_eq!(decode::<ToWorker>(&frame).unwrap(), message);
    // Of what the server has itself nothing is said, so that it is what older workers know.
    assert!(!here.windows(8).any(|bytes| bytes == b"upstream"));
}

fn assigned(job: Job, epoch: Epoch, peer: gradient_domain::OrganizationId, task: Task) -> ToWorker {
    ToWorker::Assign { job, epoch, peer, task: Box::new(task) }
}
