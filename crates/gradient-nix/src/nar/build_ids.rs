use super::{Listing, Node};

/// Where debugging information lies that `separateDebugInfo` makes: `<2 digits>/<the others>.debug` below it.
const FOLDER: &str = "lib/debug/.build-id";

/// How many build ids one NAR may have: a hundred times as many as the largest packages.
const MAX_BUILD_IDS: usize = 20_000;

impl Listing {
    /// The build ids, in hexadecimal, of which debugging information is in the NAR, each with the path of its file. It is what Nix
    /// looks for with `index-debug-info`.
    pub fn build_ids(&self) -> Vec<(String, String)> {
        let Some(Node::Directory { entries }) = self.find(FOLDER) else { return Vec::new() };
        let folders = entries.iter().filter(|(name, _)| name.len() == 2 && is_hexadecimal(name));
        let files = folders.filter_map(|(beginning, node)| match node {
            Node::Directory { entries } => Some(entries.iter().filter_map(move |(name, node)| {
                let rest = name.strip_suffix(".debug").filter(|rest| is_hexadecimal(rest))?;
                let is_file = matches!(node, Node::Regular { .. });
                is_file.then(|| (format!("{beginning}{rest}"), format!("{FOLDER}/{beginning}/{name}")))
            })),
            Node::Regular { .. } | Node::Symlink { .. } => None,
        });
        files.flatten().take(MAX_BUILD_IDS).collect()
    }
}

/// Whether it is written as build ids are.
fn is_hexadecimal(text: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    !text.is_empty() && text.len() <= 128 && text.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_the_name_of_a_build_id_count() {
        let json = br#"{"version":1,"root":{"type":"directory","entries":{"lib":{"type":"directory","entries":{"debug":{
            "type":"directory","entries":{".build-id":{"type":"directory","entries":{
                "ab":{"type":"directory","entries":{
                    "cdef01.debug":{"type":"regular","size":4,"narOffset":824},
                    "cdef02.debug":{"type":"symlink","target":"x"},
                    "cdef03":{"type":"regular","size":4,"narOffset":1000},
                    "XYZ.debug":{"type":"regular","size":4,"narOffset":1200}}},
                "x":{"type":"symlink","target":"ab"},
                "abc":{"type":"directory","entries":{"01.debug":{"type":"regular","size":4,"narOffset":1400}}}}}}}}}}}}"#;
        let found = Listing::from_json(json).unwrap().build_ids();
        assert_eq!(found, [("abcdef01".to_owned(), "lib/debug/.build-id/ab/cdef01.debug".to_owned())]);
        let file = Listing::new(Node::Regular { executable: false, size: 1, nar_offset: 96 });
        assert!(file.build_ids().is_empty());
    }
}
