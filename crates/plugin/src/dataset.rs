//! A plugin's data set as one of ours.

use crate::table;
use crate::view::{self, matrix_mut};
use crate::{Library, PluginError};
use core::ffi::c_void;
use faer::Mat;
use gfe_abi::{self as abi, DatasetInstance, DatasetTable, MatrixMut, Status};
use gfe_model::{Axis, DataError, DataShape, DatasetSource, Dim, Element, TargetsMut};
use std::ffi::CString;
use std::sync::Arc;

/// Most axes of a sample.
const MOST_AXES: usize = 7;
/// Most values of a sample, 1 GiB as f64.
const MOST_VALUES: usize = 1 << 27;

/// An open data set of a plugin.
pub struct PluginDataset {
    library: Arc<Library>,
    id: String,
    pointer: *mut c_void,
    table: DatasetTable,
    shape: DataShape,
    axes: Vec<Axis>,
    element: Element,
    weighted: bool,
}

// SAFETY: the interface lets an instance be used by one thread at a time, whichever.
unsafe impl Send for PluginDataset {}

impl PluginDataset {
    /// Opens the kind `id` of a library, or its only one, from a configuration in JSON (empty for none).
    ///
    /// Fails where there is none, it refuses the configuration, or what it says of itself cannot be.
    pub fn open(library: &Arc<Library>, id: Option<&str>, config: &str) -> Result<PluginDataset, PluginError> {
        let listed = library.datasets()?;
        let available = || listed.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        let id = match id {
            Some(id) if listed.iter().any(|one| one.id == id) => id.to_owned(),
            None if listed.len() == 1 => listed[0].id.clone(),
            None if listed.len() > 1 => {
                return Err(PluginError::Ambiguous {
                    path: library.path().to_owned(),
                    kind: "data set",
                    available: available(),
                });
            }
            None => {
                return Err(PluginError::NotAPlugin {
                    path: library.path().to_owned(),
                    what: "it has no data set".into(),
                });
            }
            Some(id) => {
                return Err(PluginError::NoSuchId {
                    path: library.path().to_owned(),
                    kind: "data set",
                    id: id.to_owned(),
                    available: available(),
                });
            }
        };
        let failed = |message: String| PluginError::Create {
            id: id.clone(),
            message,
        };
        // Factories are called by one thread at a time.
        let _turn = library.turn();
        if let Some(words) = library.last_words() {
            return Err(failed(words.to_owned()));
        }
        let factory = library
            .dataset_factory()
            .ok_or_else(|| failed("the library has no data sets".into()))?;
        let create = library.has("gfe_dataset_factory", "create", factory.create)?;
        let name = CString::new(id.as_str()).map_err(|_| failed("its name has a NUL in it".into()))?;
        let mut made = DatasetInstance {
            table: core::ptr::null(),
            instance: core::ptr::null_mut(),
        };
        // SAFETY: everything passed in is valid during the call.
        let call = |config, room| unsafe { create(name.as_ptr(), config, &mut made, room) };
        view::create(config, call).map_err(|(status, said)| {
            if status != Status::ERROR && status != Status::DISCARD {
                library.die(&said);
            }
            failed(said)
        })?;
        // SAFETY: the plugin answered OK, so the table is null or one of the interface.
        let table: Option<DatasetTable> = unsafe { table::read(made.table) };
        let table = table.ok_or_else(|| library.broken(&id, "it was made without a table of functions"))?;
        let has = |member, there: bool| library.has("gfe_dataset_table", member, there.then_some(()));
        has("shape", table.shape.is_some())?;
        has("axis", table.axis.is_some())?;
        has("read", table.read.is_some())?;
        has("last_error", table.last_error.is_some())?;
        has("destroy", table.destroy.is_some())?;
        let mut dataset = PluginDataset {
            library: Arc::clone(library),
            id,
            pointer: made.instance,
            table,
            shape: DataShape {
                samples: 0,
                dims: Vec::new(),
            },
            axes: Vec::new(),
            element: Element::F64,
            weighted: false,
        };
        dataset.read_shape()?;
        Ok(dataset)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The library.
    pub fn library(&self) -> &Library {
        &self.library
    }

    fn broken(&self, what: &str) -> PluginError {
        self.library.broken(&self.id, what)
    }

    fn read_shape(&mut self) -> Result<(), PluginError> {
        let mut shape = abi::DatasetShape::default();
        let function = self.library.has("gfe_dataset_table", "shape", self.table.shape)?;
        // SAFETY: both pointers are valid.
        self.said(unsafe { function(self.pointer, &mut shape) })
            .map_err(|error| self.broken(&format!("it does not tell its sizes: {error}")))?;
        if shape.rank > MOST_AXES {
            return Err(self.broken(&format!(
                "its samples have {} axes, and {MOST_AXES} are the most",
                shape.rank
            )));
        }
        self.element = match shape.element {
            abi::ELEMENT_F64 => Element::F64,
            abi::ELEMENT_F32 => Element::F32,
            abi::ELEMENT_U8 => Element::U8,
            other => return Err(self.broken(&format!("its `element` is {other}, which there is not"))),
        };
        (self.shape.samples, self.weighted) = (shape.samples, shape.weighted == 1);
        let function = self.library.has("gfe_dataset_table", "axis", self.table.axis)?;
        let mut values = 1_usize;
        for index in 0..shape.rank {
            let mut to = abi::Axis {
                name: core::ptr::null(),
                unit: core::ptr::null(),
                values: core::ptr::null(),
                len: 0,
            };
            // SAFETY: both pointers are valid.
            self.said(unsafe { function(self.pointer, index, &mut to) })
                .map_err(|error| self.broken(&format!("it does not tell its axis {index}: {error}")))?;
            values = match values.checked_mul(to.len) {
                Some(values) if values > 0 && values <= MOST_VALUES => values,
                _ => return Err(self.broken("its samples have no values, or more than 2^27")),
            };
            // SAFETY: the plugin answered OK: the name ends with a NUL, and there are `len` coordinates or none.
            let (name, coordinates) = unsafe {
                let coordinates =
                    (!to.values.is_null()).then(|| core::slice::from_raw_parts(to.values, to.len).to_vec());
                (table::text(to.name), coordinates)
            };
            let name = if name.is_empty() {
                format!("feature_{index}")
            } else {
                name
            };
            let dim = Dim { name, len: to.len };
            self.shape.dims.push(dim.clone());
            self.axes.push(Axis {
                dim,
                values: coordinates,
            });
        }
        Ok(())
    }

    /// What a status means.
    fn said(&self, status: Status) -> Result<(), DataError> {
        if status == Status::OK {
            return Ok(());
        }
        let Some(last_error) = self.table.last_error else {
            return Err(DataError {
                message: format!("the data set {} failed", self.id),
            });
        };
        // SAFETY: the pointer is that of the instance; the text is copied before the next call.
        let said = unsafe { table::text(last_error(self.pointer)) };
        if status != Status::ERROR && status != Status::DISCARD {
            self.library.die(&said);
        }
        Err(DataError {
            message: format!("the data set {}: {said}", self.id),
        })
    }
}

impl Drop for PluginDataset {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.destroy.filter(|_| self.library.last_words().is_none()) {
            // SAFETY: the instance is not used again.
            unsafe { destroy(self.pointer) };
        }
    }
}

impl DatasetSource for PluginDataset {
    fn shape(&self) -> &DataShape {
        &self.shape
    }

    fn axes(&self) -> Vec<Axis> {
        self.axes.clone()
    }

    fn element(&self) -> Element {
        self.element
    }

    fn weighted(&self) -> bool {
        self.weighted
    }

    fn read(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), DataError> {
        let failed = |message: &str| DataError {
            message: format!("the data set {}: {message}", self.id),
        };
        if let Some(words) = self.library.last_words() {
            return Err(failed(words));
        }
        let function = self.table.read.ok_or_else(|| failed("it cannot read"))?;
        let TargetsMut { y, mut w } = to;
        let none = MatrixMut {
            data: core::ptr::null_mut(),
            rows: y.nrows(),
            cols: 0,
            col_stride: y.nrows(),
        };
        // Who does not ask for weights gets none, but the source is promised room for them.
        let mut unasked = Mat::new();
        let weights = match &mut w {
            Some(w) if self.weighted => matrix_mut(w.as_mut()),
            None if self.weighted => {
                unasked = Mat::zeros(y.nrows(), y.ncols());
                matrix_mut(unasked.as_mut())
            }
            _ => none,
        };
        let y = matrix_mut(y);
        // SAFETY: everything passed in is borrowed for the call.
        let status = unsafe { function(self.pointer, ids.as_ptr(), ids.len(), y, weights) };
        drop(unasked);
        self.said(status)?;
        if let Some(w) = w.as_mut().filter(|_| !self.weighted) {
            w.fill(1.0);
        }
        Ok(())
    }
}
