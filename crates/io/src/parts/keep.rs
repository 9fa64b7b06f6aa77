//! An output over its parts: a small file whose rows stay where they are.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::merge::check_rows;
use super::pieces::{Piece, Pieces};
use super::{Part, Parts};
use crate::IoError;
use crate::encoded::{EncodedLayout, EncodedWriter, Source, Taken};
use crate::input::open_file;

impl Parts {
    /// Writes the output as a file of virtual datasets over the parts, which stay; values of a part that is lost read as NaN, counts as
    /// their largest value.
    ///
    /// Fails where rows are missing, a part is damaged or belongs to another output, or the disk refuses. HDF5 writes to no disk here.
    pub fn keep(self, layout: &EncodedLayout, replace: bool) -> Result<(), IoError> {
        let pieces = Pieces::new(&self)?;
        let sources: Vec<Source> = pieces
            .list
            .iter()
            .map(|piece| self.source(&pieces, piece, layout.trace))
            .collect::<Result<_, _>>()?;
        let image = EncodedWriter::over(&self.output, layout, &sources, &pieces.notes()?)?;
        let temporary = self.temporary();
        let written = fs::write(&temporary, image).and_then(|()| File::open(&temporary)?.sync_all());
        let failed = |source| IoError::Write {
            path: self.output.clone(),
            source,
        };
        written
            .map_err(failed)
            .and_then(|()| check_rows(&self, &open_file(&temporary)?))
            .and_then(|()| self.name(replace))
            .inspect_err(|_| {
                // The error that led here is the one to tell.
                let _ = fs::remove_file(&temporary);
            })
    }

    fn source(&self, pieces: &Pieces<'_>, piece: &Piece, traced: bool) -> Result<Source, IoError> {
        let part: &Part = &self.parts[piece.file];
        // HDF5 takes names of sources for patterns.
        let name = |path: &Path| -> Result<String, IoError> {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| IoError::Write {
                path: self.output.clone(),
                source: io::ErrorKind::InvalidFilename.into(),
            })?;
            Ok(name.replace('%', "%%"))
        };
        let states = if traced {
            Taken {
                rows: pieces.states(piece)?.rows,
                of: pieces.dataset(piece.file, "trace_t")?.size(),
            }
        } else {
            Taken::default()
        };
        Ok(Source {
            file: format!("{}/{}", name(&self.folder)?, name(&part.path)?),
            samples: Taken {
                rows: piece.rows.clone(),
                of: part.rows.len(),
            },
            states,
        })
    }
}
