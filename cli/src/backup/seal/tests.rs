//! Sealed and opened again; damaged, cut off, exchanged, and with other secrets.

use super::{Header, OpenError, Opener, Sealer, Secret, chunk::CHUNK_BYTES, header::HEADER_LEN};

fn passphrase(text: &str) -> Secret {
    Secret::Passphrase(text.to_owned())
}

fn sealed(secret: &Secret, content: &[u8]) -> Vec<u8> {
    let mut sealer = Sealer::new(secret, Vec::new()).unwrap();
    // In pieces that end anywhere.
    content.chunks(7_001).for_each(|piece| sealer.write(piece).unwrap());
    sealer.finish().unwrap()
}

fn opened(secret: &Secret, mut file: &[u8]) -> Result<Vec<u8>, OpenError> {
    let header = Header::read(&mut file)?;
    let mut opener = Opener::new(secret, &header, file)?;
    let mut content = Vec::new();
    while let Some(piece) = opener.next()? {
        content.extend(piece);
    }
    Ok(content)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

fn refused(secret: &Secret, file: &[u8]) -> String {
    opened(secret, file).expect_err("it is refused").to_string()
}

#[test]
fn what_was_sealed_is_opened() {
    for secret in [passphrase("correct horse"), Secret::KeyFile(vec![7; 32])] {
        for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let file = sealed(&secret, &content(len));
            assert_eq!(opened(&secret, &file).unwrap(), content(len), "{len}");
        }
    }
}

#[test]
fn nothing_of_the_content_or_of_the_secret_is_readable() {
    let file = sealed(&passphrase("correct horse"), &[b'x'; 1_000]);
    let is_in = |text: &[u8]| file.windows(text.len()).any(|window| window == text);
    assert!(!is_in(b"xxxx") && !is_in(b"horse"));
    let again = sealed(&passphrase("correct horse"), &[b'x'; 1_000]);
    assert_ne!(file, again, "each has a salt of its own");
    assert_eq!(format!("{:?}", passphrase("correct horse")), "Secret(..)");
}

#[test]
fn a_wrong_secret_is_told_apart_from_damage() {
    let file = sealed(&passphrase("correct horse"), &content(100));
    assert!(refused(&passphrase("battery staple"), &file).starts_with("the passphrase is not the one"));
    assert!(refused(&passphrase(""), &file).starts_with("the passphrase is not the one"));
    assert!(refused(&Secret::KeyFile(vec![7; 32]), &file).starts_with("it was sealed with a passphrase"));
    let file = sealed(&Secret::KeyFile(vec![7; 32]), &content(100));
    assert!(refused(&Secret::KeyFile(vec![8; 32]), &file).starts_with("the key file is not the one"));
    assert!(refused(&passphrase("correct horse"), &file).starts_with("it was sealed with a key file"));
}

#[test]
fn any_byte_that_was_changed_is_noticed() {
    let secret = Secret::KeyFile(vec![7; 32]);
    let file = sealed(&secret, &content(CHUNK_BYTES + 100));
    for at in (0..file.len()).filter(|at| *at < 2 * HEADER_LEN || at % 997 == 0 || *at + 40 > file.len()) {
        let mut other = file.clone();
        other[at] ^= 0x10;
        let error = opened(&secret, &other).expect_err("it is refused");
        match (at, &error) {
            (0..14, OpenError::NoBackup) | (14..16, OpenError::Format { .. }) => {}
            (16.., OpenError::Damaged(near)) => assert!(*near <= at as u64, "{at}: {error}"),
            _ => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_noticed() {
    let secret = Secret::KeyFile(vec![7; 32]);
    let file = sealed(&secret, &content(2 * CHUNK_BYTES + 100));
    let frame = CHUNK_BYTES + 5 + 16;
    let ends = [1, 13, 14, 15, 16, HEADER_LEN - 1, HEADER_LEN, HEADER_LEN + 3, HEADER_LEN + frame, file.len() - 1];
    for end in ends.into_iter().chain((HEADER_LEN..file.len()).step_by(9_973)) {
        match opened(&secret, &file[..end]) {
            Err(OpenError::Truncated(at)) => assert_eq!(at, end as u64),
            other => panic!("cut at {end}: {other:?}"),
        }
    }
}

#[test]
fn chunks_cannot_be_exchanged_left_out_or_added() {
    let secret = Secret::KeyFile(vec![7; 32]);
    let file = sealed(&secret, &content(3 * CHUNK_BYTES));
    let frame = CHUNK_BYTES + 5 + 16;
    let (header, chunks) = file.split_at(HEADER_LEN);
    let chunks: Vec<&[u8]> = chunks.chunks(frame).collect();
    let with = |chunks: &[&[u8]]| [header, &chunks.concat()].concat();
    assert!(opened(&secret, &with(&chunks)).is_ok());
    let exchanged = with(&[chunks[1], chunks[0], chunks[2]]);
    let left_out = with(&[chunks[0], chunks[2]]);
    let twice = with(&[chunks[0], chunks[0], chunks[2]]);
    let added = [file.as_slice(), b"x"].concat();
    let ended_early = {
        let mut last = chunks[1].to_vec();
        last[0] = 1;
        with(&[chunks[0], &last])
    };
    let other = sealed(&secret, &content(3 * CHUNK_BYTES));
    let of_another = with(&[chunks[0], chunks[1], &other[HEADER_LEN + 2 * frame..]]);
    for file in [exchanged, left_out, twice, added, ended_early, of_another] {
        assert!(matches!(opened(&secret, &file), Err(OpenError::Damaged(_))), "{}", refused(&secret, &file));
    }
}

#[test]
fn other_files_are_no_backups() {
    let secret = passphrase("correct horse");
    for other in [b"".as_slice(), b"PK\x03\x04 an archive", &[0; 500], b"muster backup"] {
        assert!(refused(&secret, other).starts_with("it is not a backup"), "{}", refused(&secret, other));
    }
    let mut newer = sealed(&secret, b"");
    newer[15] = 2;
    assert!(refused(&secret, &newer).contains("a backup of format 2, and this muster reads format 1"));
}
