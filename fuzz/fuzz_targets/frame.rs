//! Frames of the worker protocol, in both directions: what is understood is understood again.
#![no_main]

use gradient_protocol::{Message, ToServer, ToWorker, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    check::<ToServer>(frame);
    check::<ToWorker>(frame);
});

fn check<M: Message>(frame: &[u8]) {
    // What has a NaN in it is not even equal to itself, so the bytes are compared.
    if let Ok(message) = decode::<M>(frame)
        && let Ok(written) = encode(&message)
    {
        let again = decode::<M>(&written).expect("a message that was written");
        assert_eq!(encode(&again).expect("a message that was read"), written);
    }
}
