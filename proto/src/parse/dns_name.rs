//! Names as DNS has them (RFC 1123).

/// Longest name, and longest label of one.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Labels of letters, digits and inner hyphens, joined by points.
pub(crate) fn is_dns_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(["a", "web-1", "a.b.example", "1a"].into_iter().all(is_dns_name));
        let long = "a".repeat(64);
        assert!(!["", ".", "a.", "-a", "a-", "a_b", "a b", "é", long.as_str()].into_iter().any(is_dns_name));
        assert!(!is_dns_name(&["a"; 130].join(".")));
    }
}
