//! Dimension scales as the HDF5 specification has them, so that xarray, netCDF and h5py see named dimensions.

use std::collections::BTreeMap;
use std::ffi::CString;

use hdf5::types::VarLenArray;
use hdf5::{Dataset, File, H5Type, ObjectReference, ObjectReference1, Result};
use ndarray::Array1;

use crate::native;

/// An entry of a scale's REFERENCE_LIST: a dataset and which of its axes the scale belongs to.
#[derive(H5Type, Clone, Copy)]
#[repr(C)]
struct Use {
    dataset: ObjectReference1,
    dimension: i32,
}

/// Marks `scale` as the dimension scale `name`.
pub(crate) fn mark(scale: &Dataset, name: &str) -> Result<()> {
    let name = CString::new(name).map_err(|_| format!("the axis name {name:?} has a null in it"))?;
    let marked = native::write_null_terminated(scale, c"CLASS", c"DIMENSION_SCALE")
        && native::write_null_terminated(scale, c"NAME", &name);
    if marked {
        Ok(())
    } else {
        Err("the attributes of a dimension scale cannot be written".into())
    }
}

/// Which dataset uses which scale, collected until the file is complete.
#[derive(Default)]
pub(crate) struct Attachments(BTreeMap<String, Vec<(String, i32)>>);

impl Attachments {
    /// Gives the axes of `variable` the scales `axes`, in order.
    pub(crate) fn attach(&mut self, file: &File, variable: &str, axes: &[String]) -> Result<()> {
        let mut list = Vec::with_capacity(axes.len());
        for (axis, dimension) in axes.iter().zip(0..) {
            list.push(VarLenArray::from_slice(&[ObjectReference1::create(file, axis)?]));
            self.0
                .entry(axis.clone())
                .or_default()
                .push((variable.to_owned(), dimension));
        }
        let attribute = file
            .dataset(variable)?
            .new_attr::<VarLenArray<ObjectReference1>>()
            .shape(axes.len());
        attribute.create("DIMENSION_LIST")?.write(&Array1::from(list))
    }

    /// Writes the back references of every scale in use.
    pub(crate) fn finish(&self, file: &File) -> Result<()> {
        for (scale, users) in &self.0 {
            let mut list = Vec::with_capacity(users.len());
            for (variable, dimension) in users {
                list.push(Use {
                    dataset: ObjectReference1::create(file, variable)?,
                    dimension: *dimension,
                });
            }
            let attribute = file
                .dataset(scale)?
                .new_attr::<Use>()
                .shape(list.len())
                .create("REFERENCE_LIST")?;
            attribute.write(&Array1::from(list))?;
        }
        Ok(())
    }
}
