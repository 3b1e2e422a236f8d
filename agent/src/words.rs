//! Cuts text that came from containers and engines to what a report may carry.

/// At most `bytes_max` bytes, ended by an ellipsis where something was cut, never inside a character.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(ELLIPSIS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("short".to_owned(), 5), "short");
        assert_eq!(cut("längere".to_owned(), 5), "l…");
        assert_eq!(cut("longer".to_owned(), 5), "lo…");
    }
}
