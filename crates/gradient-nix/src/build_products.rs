//! `nix-support/hydra-build-products`: what an output declares for people to download.
//!
//! Each line is `<type> <subtype> <path> [<default path>]`; a path with spaces is in double quotes.

use crate::StorePath;

/// The file inside an output that declares its products.
pub const FILE: &str = "nix-support/hydra-build-products";

/// How much of the file is read, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 10;

/// Lines beyond this many are not read.
pub const MAX_PRODUCTS: usize = 1000;

/// One declared product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildProduct {
    /// What it is: `file`, `doc`, `report` …
    pub kind: String,
    /// What it is more closely; empty when the line says `none`.
    pub subtype: String,
    /// The store path it is in.
    pub store_path: StorePath,
    /// Where in the store path, without a slash in front; empty for the store path itself.
    pub subpath: String,
    /// What to open first inside a directory.
    pub default_path: Option<String>,
}

/// Reads the products of a file, or of its first [`MAX_FILE_BYTES`]; a line that is cut there is not read. A line that is no
/// product is skipped: a build does not fail for what it says about itself.
pub fn parse_bytes(file: &[u8]) -> Vec<BuildProduct> {
    let read = file.get(..MAX_FILE_BYTES).unwrap_or(file);
    let is_cut = read.len() == MAX_FILE_BYTES;
    let whole = if is_cut { read.iter().rposition(|byte| *byte == b'\n').unwrap_or(0) } else { read.len() };
    parse(&String::from_utf8_lossy(read.get(..whole).unwrap_or_default()))
}

/// Reads the products of a file that is a text.
pub fn parse(text: &str) -> Vec<BuildProduct> {
    text.lines().filter_map(parse_line).take(MAX_PRODUCTS).collect()
}

fn parse_line(line: &str) -> Option<BuildProduct> {
    let (kind, rest) = word(line)?;
    let (subtype, rest) = word(rest)?;
    let rest = rest.trim_start();
    let (path, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => word(rest)?,
    };
    let (store_path, subpath) = split_store_path(path)?;
    let default_path = word(rest).map(|(path, _)| path);
    if default_path.is_some_and(|path| !is_inside(path)) {
        return None;
    }
    (is_plain(kind) && is_plain(subtype)).then(|| BuildProduct {
        kind: kind.to_owned(),
        subtype: if subtype == "none" { String::new() } else { subtype.to_owned() },
        store_path,
        subpath: subpath.to_owned(),
        default_path: default_path.map(str::to_owned),
    })
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn is_plain(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn split_store_path(path: &str) -> Option<(StorePath, &str)> {
    let inside = path.strip_prefix(crate::STORE_DIR)?.strip_prefix('/')?;
    let (basename, subpath) = inside.split_once('/').unwrap_or((inside, ""));
    let subpath = subpath.trim_end_matches('/');
    (subpath.is_empty() || is_inside(subpath)).then_some((basename.parse().ok()?, subpath))
}

fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: &str = "/nix/store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-manual";

    fn check(line: &str) -> Option<(String, String, String, Option<String>)> {
        parse(&line.replace("OUT", OUT))
            .pop()
            .map(|product| (product.kind, product.subtype, product.subpath, product.default_path))
    }

    #[test]
    fn the_lines_hydra_reads_are_read() {
        let some = |kind: &str, subtype: &str, path: &str, default: Option<&str>| {
            Some((kind.to_owned(), subtype.to_owned(), path.to_owned(), default.map(str::to_owned)))
        };
        assert_eq!(check("file iso OUT/iso/nixos.iso"), some("file", "iso", "iso/nixos.iso", None));
        assert_eq!(check("doc manual OUT/share/doc index.html"), some("doc", "manual", "share/doc", Some("index.html")));
        assert_eq!(check("  nix-build\tnone  OUT"), some("nix-build", "", "", None));
        assert_eq!(check("file x \"OUT/a b/c\" d"), some("file", "x", "a b/c", Some("d")));
    }

    #[test]
    fn what_leads_elsewhere_is_skipped() {
        for line in [
            "",
            "file",
            "file iso",
            "file iso /etc/passwd",
            "file iso OUT/../../../etc/passwd",
            "file iso OUT//x",
            "file iso \"OUT/unclosed",
            "f!le iso OUT/x",
            "doc manual OUT/share ../../secret",
        ] {
            assert_eq!(check(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_cut_is_not_read() {
        let line = format!("file x {OUT}/yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy {}\n", "z".repeat(MAX_FILE_BYTES / 4));
        assert_eq!(parse_bytes(line.repeat(2).as_bytes()).len(), 2);
        assert_eq!(parse_bytes(line.repeat(9).as_bytes()).len(), 3);
        assert_eq!(parse_bytes(format!("\u{fffd}\nfile x {OUT}/y").as_bytes()).len(), 1);
        assert_eq!(parse_bytes(format!("file x {OUT}/\0").as_bytes()).len(), 0);
    }

    #[test]
    fn an_endless_file_ends() {
        let text = format!("file x {OUT}/y\n").repeat(MAX_PRODUCTS * 2);
        assert_eq!(parse(&text).len(), MAX_PRODUCTS);
    }
}
