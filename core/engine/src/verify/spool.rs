//! A copy of a generation's rows on disk, as canonical bytes in key order: the view of the sink is given back before the
//! long fold begins, and memory stays bounded.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use annals_model::canonical::{Digest, TableDigest, put_row, read_key};
use annals_model::projection::{OwnedValue, ReadModel, RowKey, TableKind, TableShape};
use tokio::io::AsyncWriteExt;

use super::VerifyError;
use crate::limits;
use crate::rebuild::control::Control;
use crate::rebuild::fold::FoldError;
use crate::sink::{Checkpoints, SinkSnapshot};

/// All tables of one generation, at one moment.
#[derive(Debug)]
pub(super) struct Spool {
    pub(super) checkpoints: Checkpoints,
    pub(super) tables: Vec<SpooledTable>,
}

/// One table. Its file has no name: it is gone with this, also when the process dies.
#[derive(Debug)]
pub(super) struct SpooledTable {
    pub(super) table: &'static str,
    pub(super) kind: TableKind,
    pub(super) rows: u64,
    pub(super) digest: Digest,
    pub(super) file: File,
}

impl Spool {
    pub(super) async fn write(
        mut snapshot: Box<dyn SinkSnapshot>,
        read_model: &ReadModel,
        control: &Control,
    ) -> Result<Self, VerifyError> {
        let mut tables = Vec::new();
        for (index, shape) in read_model.tables().iter().enumerate() {
            tables.push(write_table(snapshot.as_mut(), index, shape, control).await?);
        }
        Ok(Self { checkpoints: snapshot.checkpoints().clone(), tables })
    }
}

async fn write_table(
    snapshot: &mut dyn SinkSnapshot,
    index: usize,
    shape: &TableShape,
    control: &Control,
) -> Result<SpooledTable, VerifyError> {
    let mut digest = TableDigest::new(shape.name);
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    let (mut last, mut rows, mut bytes, mut canonical) = (None, Vec::new(), Vec::new(), Vec::new());
    loop {
        snapshot.rows(index, last, &mut rows).await?;
        for row in &rows {
            if last.is_some_and(|last| last >= row.key) {
                return Err(VerifyError::Order { table: shape.name, key: row.key });
            }
            last = Some(row.key);
            let values: Vec<_> = row.values.iter().map(OwnedValue::as_value).collect();
            canonical.clear();
            put_row(&mut canonical, &row.key, row.life, &values);
            digest.add(&row.key, &canonical);
            bytes.extend_from_slice(&(canonical.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&canonical);
        }
        if bytes.len() >= limits::VERIFY_SPOOL_BUFFER_BYTES || rows.is_empty() {
            file.write_all(&bytes).await?;
            bytes.clear();
        }
        if rows.is_empty() {
            break;
        }
        if control.is_cancelled() {
            return Err(FoldError::Cancelled.into());
        }
    }
    file.flush().await?;
    let (file, rows) = (file.into_std().await, digest.rows());
    Ok(SpooledTable { table: shape.name, kind: shape.kind, rows, digest: digest.finish(), file })
}

/// Reads a spooled table from its beginning.
#[derive(Debug)]
pub(super) struct Cursor {
    file: BufReader<File>,
    rows_left: u64,
    key: Option<RowKey>,
    canonical: Vec<u8>,
}

impl Cursor {
    pub(super) fn new(mut file: File, rows: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(limits::VERIFY_SPOOL_BUFFER_BYTES, file);
        let mut cursor = Self { file, rows_left: rows, key: None, canonical: Vec::new() };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The row that it stands at; nothing behind the last.
    pub(super) fn row(&self) -> Option<(RowKey, &[u8])> {
        self.key.map(|key| (key, self.canonical.as_slice()))
    }

    pub(super) fn advance(&mut self) -> io::Result<()> {
        self.key = None;
        if self.rows_left > 0 {
            self.rows_left -= 1;
            let mut length = [0; 4];
            self.file.read_exact(&mut length)?;
            self.canonical.resize(u32::from_le_bytes(length) as usize, 0);
            self.file.read_exact(&mut self.canonical)?;
            let (key, _) = read_key(&self.canonical).map_err(io::Error::other)?;
            self.key = Some(key);
        }
        Ok(())
    }
}
