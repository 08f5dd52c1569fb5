//! What the name of a file tells its readers.

use std::fmt::Write as _;

/// `Content-Disposition` for a file that is to be saved under this name: RFC 6266, with the form of RFC 5987 beside the plain one
/// when that cannot hold the name.
pub(super) fn attachment(name: &str) -> String {
    let plain = plain(name);
    let mut disposition = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        disposition.push_str("; filename*=UTF-8''");
        disposition.push_str(&percent_encoded(name));
    }
    disposition
}

/// A name that is safe inside quotes, whatever reads it.
fn plain(name: &str) -> String {
    name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "+-._=".contains(character)
}

/// Every byte but those that RFC 5987 calls `attr-char`, and fewer still.
fn percent_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"+-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What a file is, by its extension; bytes where that says nothing.
pub(super) fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "css" => "text/css; charset=utf-8",
        "gif" => "image/gif",
        "gz" | "tgz" => "application/gzip",
        "htm" | "html" => "text/html; charset=utf-8",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "conf" | "log" | "md" | "nix" | "txt" => "text/plain; charset=utf-8",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "wasm" => "application/wasm",
        "webp" => "image/webp",
        "xml" => "application/xml",
        "xz" => "application/x-xz",
        "zip" => "application/zip",
        "zst" => "application/zstd",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(attachment("gcc-14.2+x"), "attachment; filename=\"gcc-14.2+x\"");
        let hostile = "attachment; filename=\"a___b__c___\"; filename*=UTF-8''a%22%3B%20b%0D%0Ac%3A%20%C3%BC";
        assert_eq!(attachment("a\"; b\r\nc: ü"), hostile);
    }

    #[test]
    fn extensions_tell_what_a_file_is() {
        assert_eq!(media_type("manual.HTML"), "text/html; charset=utf-8");
        assert_eq!(media_type("x.tar.gz"), "application/gzip");
        for unknown in ["hello", "html", "x.", ".unknown"] {
            assert_eq!(media_type(unknown), "application/octet-stream", "{unknown}");
        }
    }
}
