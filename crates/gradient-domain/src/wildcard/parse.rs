//! From the text of a wildcard to its patterns.

use super::{OUTPUTS, Pattern, Segment, WildcardError};

const MAX_LENGTH: usize = 8192;
const MAX_PATTERNS: usize = 256;

type Parts = (Vec<Pattern>, Vec<Vec<String>>);

pub(super) fn wildcard(text: &str) -> Result<Parts, WildcardError> {
    if text.len() > MAX_LENGTH {
        return Err(WildcardError::TooLong);
    }
    let texts = split(text, ',');
    if texts.len() > MAX_PATTERNS {
        return Err(WildcardError::TooLong);
    }
    let (mut patterns, mut left_out) = (Vec::new(), Vec::new());
    for (index, text) in texts.into_iter().enumerate() {
        let text = text.trim();
        if text.is_empty() || text == "!" {
            return Err(WildcardError::EmptyPattern { position: index + 1 });
        }
        match text.strip_prefix('!') {
            Some(path) => left_out.push(exclusion(text, path)?),
            None => patterns.push(Pattern { segments: segments(text, text)? }),
        }
    }
    if patterns.is_empty() { Err(WildcardError::OnlyExclusions) } else { Ok((patterns, left_out)) }
}

fn exclusion(pattern: &str, path: &str) -> Result<Vec<String>, WildcardError> {
    segments(pattern, path)?
        .into_iter()
        .map(|segment| match segment {
            Segment::Name(name) => Ok(name),
            Segment::Any | Segment::Derivation => Err(WildcardError::WildcardInExclusion(pattern.to_owned())),
        })
        .collect()
}

/// The levels of `path`; `pattern` is what errors show.
fn segments(pattern: &str, path: &str) -> Result<Vec<Segment>, WildcardError> {
    let segments = split(path, '.').into_iter().map(|text| segment(pattern, text)).collect::<Result<Vec<_>, _>>()?;
    match segments.first() {
        Some(Segment::Name(name)) if OUTPUTS.contains(&name.as_str()) => Ok(segments),
        _ => Err(WildcardError::Output(pattern.to_owned())),
    }
}

fn segment(pattern: &str, text: &str) -> Result<Segment, WildcardError> {
    let refuse = |character| WildcardError::Character { pattern: pattern.to_owned(), character };
    match text {
        "" | "\"\"" => return Err(WildcardError::EmptySegment(pattern.to_owned())),
        "*" => return Ok(Segment::Any),
        "#" => return Ok(Segment::Derivation),
        _ => {}
    }
    if let Some(rest) = text.strip_prefix('"') {
        let name = rest.strip_suffix('"').filter(|name| !name.contains('"'));
        let name = name.ok_or_else(|| WildcardError::Quote(pattern.to_owned()))?;
        return match name.chars().find(|c| c.is_control() || *c == '\\') {
            Some(character) => Err(refuse(character)),
            None => Ok(Segment::Name(name.to_owned())),
        };
    }
    if text.contains('"') {
        return Err(WildcardError::Quote(pattern.to_owned()));
    }
    if text.chars().any(char::is_whitespace) {
        return Err(WildcardError::WhiteSpace(pattern.to_owned()));
    }
    match text.chars().find(|c| c.is_control() || matches!(c, '*' | '#' | '!' | '\\' | '$' | '{' | '}')) {
        Some(character) => Err(refuse(character)),
        None => Ok(Segment::Name(text.to_owned())),
    }
}

/// Splits at `separator` where it is not in quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut in_quotes = false;
    text.split(|c| {
        in_quotes ^= c == '"';
        c == separator && !in_quotes
    })
    .collect()
}
