#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;

use super::*;

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Box::new(Cursor::new(bytes.to_vec())))
}

async fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut writer = Writer::new(Box::new(near));
    write(&mut writer);
    writer.flush().await.unwrap();
    drop(writer);
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn strings_are_padded_to_eight() {
    for (text, size) in [("", 8), ("a", 16), ("12345678", 16), ("123456789", 24)] {
        let bytes = written(|writer| {
            writer.text(text);
        })
        .await;
        assert_eq!(bytes.len(), size, "{text}");
        assert_eq!(reader(&bytes).text().await.unwrap(), text);
    }
}

#[tokio::test]
async fn lists_come_back() {
    let bytes = written(|writer| {
        writer.texts(["one", "two", ""].iter());
    })
    .await;
    assert_eq!(reader(&bytes).texts().await.unwrap(), ["one", "two", ""]);
}

#[tokio::test]
async fn announced_sizes_are_not_believed() {
    assert!(matches!(reader(&u64::MAX.to_le_bytes()).bytes().await, Err(Error::TooLarge { .. })));
    assert!(matches!(reader(&u64::MAX.to_le_bytes()).texts().await, Err(Error::TooLarge { .. })));
    assert!(reader(&(1u64 << 20).to_le_bytes()).bytes().await.is_err());
}

#[tokio::test]
async fn a_list_is_bounded_as_a_whole() {
    let text = [&MAX_STRING_BYTES.to_le_bytes()[..], &vec![b'a'; 16 << 20]].concat();
    let list = Cursor::new(9u64.to_le_bytes()).chain(Cursor::new([&text[..]; 9].concat()));
    assert!(matches!(Reader::new(Box::new(list)).texts().await, Err(Error::TooLarge { limit: MAX_LIST_BYTES, .. })));
}

#[tokio::test]
async fn padding_must_be_zero() {
    let mut bytes = 1u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(b"a\0\0\0\0\0\0\x01");
    assert!(matches!(reader(&bytes).bytes().await, Err(Error::Malformed(_))));
}

#[tokio::test]
async fn frames_hold_exactly_the_declared_bytes() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut writer = Writer::new(Box::new(near));
    writer.frames(3, &mut Cursor::new(b"abc")).await.unwrap();
    let short = writer.frames(4, &mut Cursor::new(b"abc")).await;
    let long = writer.frames(2, &mut Cursor::new(b"abc")).await;
    drop(writer);
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.starts_with(b"\x03\0\0\0\0\0\0\0abc\0\0\0\0\0\0\0\0"), "{bytes:?}");
    assert!(matches!(short, Err(Error::NarSize { declared: 4 })));
    assert!(matches!(long, Err(Error::NarSize { declared: 2 })));
}
