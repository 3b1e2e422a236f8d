//! A file with one value: a line of JSON that a person can read, with its format, and a line with its checksum.
//! Replaced whole (temporary name, fsync, rename): after a power loss it holds the old value or the new one. Blocking.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::files::{StoreError, failed};

/// Of the file's content. A change that an older version could not read gets the next number.
pub(super) const FORMAT: u32 = 1;

/// Why a file holds no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("its checksum does not match its content")]
    Checksum,
    #[error("it does not hold what it should")]
    Content(#[source] serde_json::Error),
    #[error("it is the record of another task")]
    Name,
}

#[derive(Serialize)]
struct Out<'a, T> {
    format: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

pub(super) enum Content<T> {
    Value(Box<T>),
    Damaged(Damage),
    OtherFormat(u32),
}

/// The folder is still to be synced.
pub(super) fn replace(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut text = serde_json::to_string(&Out { format: FORMAT, value })
        .map_err(|error| failed("written", path)(io::Error::other(error)))?;
    text = format!("{text}\ncrc32 {:08x}\n", crc32fast::hash(text.as_bytes()));
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_data()
    });
    written.map_err(failed("written", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("written", path))
}

pub(super) fn sync_folder(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(failed("synced", dir))
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Content<T> {
    let Some((text, sum)) = split(bytes) else { return Content::Damaged(Damage::Checksum) };
    if crc32fast::hash(text.as_bytes()) != sum {
        return Content::Damaged(Damage::Checksum);
    }
    match serde_json::from_str::<Format>(text) {
        Ok(Format { format: FORMAT }) => match serde_json::from_str(text) {
            Ok(value) => Content::Value(Box::new(value)),
            Err(error) => Content::Damaged(Damage::Content(error)),
        },
        Ok(Format { format }) => Content::OtherFormat(format),
        Err(error) => Content::Damaged(Damage::Content(error)),
    }
}

fn split(bytes: &[u8]) -> Option<(&str, u32)> {
    let (text, sum) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let sum = u32::from_str_radix(sum.strip_prefix("crc32 ")?.strip_suffix('\n')?, 16).ok()?;
    Some((text, sum))
}
