//! What a file has to offer: its numeric datasets, and the names of a dataset's axes.

use hdf5::dataset::Layout;
use hdf5::types::{FixedAscii, TypeDescriptor, VarLenArray};
use hdf5::{Container, Dataset, File, Group, IndexType, IterationOrder, LinkType, ObjectReference1, ReferencedObject};

use crate::chunks::Rows;
use crate::native;
use crate::{InputPath, access, texts};

/// Groups deeper than this are not searched.
const DEPTH_LIMIT: usize = 8;
/// A list of more names than this helps nobody.
const LIST_LIMIT: usize = 50;
/// Most axes that HDF5 has (H5S_MAX_RANK).
const RANK_MAX: usize = 32;

/// Paths of the datasets of numbers with at least one axis, dimension scales left out; 50 at most.
pub(crate) fn numeric_datasets(file: &File) -> Vec<String> {
    let wanted = |dataset: &Dataset| is_numeric(dataset) && dataset.ndim() > 0 && !is_scale(dataset);
    let mut found = Vec::new();
    visit(file, ("", DEPTH_LIMIT), &wanted, &mut found);
    found
}

/// Paths of the datasets with one value per sample; 50 at most.
pub(crate) fn per_sample_datasets(file: &File, samples: usize) -> Vec<String> {
    let mut found = Vec::new();
    visit(
        file,
        ("", DEPTH_LIMIT),
        &|dataset: &Dataset| is_at_home(dataset) && dataset.shape() == [samples],
        &mut found,
    );
    found
}

/// Only hard links are followed: soft links would show a dataset twice and external ones lead out of the file.
fn visit(group: &Group, (prefix, depth): (&str, usize), wanted: &dyn Fn(&Dataset) -> bool, found: &mut Vec<String>) {
    // A group that cannot be listed has nothing to offer; the error that led here is the one to tell.
    let links = group
        .links(IndexType::Name, IterationOrder::Increasing)
        .unwrap_or_default();
    for (name, _) in links.into_iter().filter(|(_, link)| link.link_type == LinkType::Hard) {
        if found.len() >= LIST_LIMIT {
            return;
        }
        let path = format!("{prefix}/{}", texts::lossy(name.as_bytes()));
        if let Ok(dataset) = group.dataset(&name) {
            if wanted(&dataset) {
                found.push(path);
            }
        } else if depth > 0
            && let Ok(inner) = group.group(&name)
        {
            visit(&inner, (&path, depth - 1), wanted, found);
        }
    }
}

/// The type of numbers, or in words what the values are instead.
pub(crate) fn descriptor_of(values: &Container) -> Result<TypeDescriptor, String> {
    match native::descriptor_of(values)? {
        found @ (TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_)) => Ok(found),
        _ => Err("texts".into()),
    }
}

/// Whether even the length of a dataset can be asked for without another file being opened.
pub(crate) fn is_at_home(dataset: &Dataset) -> bool {
    access::external_is_allowed() || !matches!(dataset.layout(), Layout::Virtual)
}

fn is_numeric(dataset: &Dataset) -> bool {
    is_at_home(dataset) && descriptor_of(dataset).is_ok()
}

fn is_scale(dataset: &Dataset) -> bool {
    let class = || {
        let class = dataset.attr("CLASS").ok()?;
        let TypeDescriptor::FixedAscii(_) = native::descriptor_of(&class).ok()? else {
            return None;
        };
        class.read_scalar::<FixedAscii<16>>().ok()
    };
    class().is_some_and(|class| class.as_bytes() == b"DIMENSION_SCALE")
}

/// Name of each axis where the dataset has one: its label, else the name of its dimension scale.
pub(crate) fn dimension_names(file: &File, dataset: &Dataset) -> Vec<Option<String>> {
    let scales = scale_names(file, dataset).unwrap_or_default();
    let labels = texts::list(dataset, "DIMENSION_LABELS");
    let name = |axis: usize| {
        let label = labels.get(axis).filter(|label| !label.is_empty()).cloned();
        label.or_else(|| scales.get(axis).cloned().flatten())
    };
    (0..dataset.ndim()).map(name).collect()
}

/// Last part of the path of each axis' first scale.
fn scale_names(file: &File, dataset: &Dataset) -> hdf5::Result<Vec<Option<String>>> {
    let last = |scale: Dataset| {
        texts::lossy(scale.name().as_bytes())
            .rsplit('/')
            .next()
            .map(str::to_owned)
    };
    let name = |scale: Option<Dataset>| scale.and_then(last);
    Ok(scales_of(file, dataset)?.into_iter().map(name).collect())
}

/// Coordinates of each axis, where its first scale holds numbers, one-dimensional and no more than 2^20.
pub(crate) fn axis_values(file: &File, dataset: &Dataset) -> Vec<Option<Vec<f64>>> {
    let values = |scale: Option<Dataset>| {
        let scale = scale.filter(|scale| is_numeric(scale) && scale.ndim() == 1 && scale.size() <= 1 << 20)?;
        let path = InputPath {
            file: file.filename().into(),
            dataset: Some(scale.name()),
        };
        let len = scale.size();
        let mut rows = Rows::new(file, &path, scale).ok()?;
        rows.read(0..len, |scale| scale.read_raw::<f64>()).ok()
    };
    let scales = scales_of(file, dataset).unwrap_or_default();
    scales.into_iter().map(values).collect()
}

/// The first scale of each axis.
pub(crate) fn scales_of(file: &File, dataset: &Dataset) -> hdf5::Result<Vec<Option<Dataset>>> {
    let attribute = dataset.attr("DIMENSION_LIST")?;
    if attribute.size() > RANK_MAX {
        return Err("it has more scales than HDF5 has axes".into());
    }
    if !native::are_lists_of_references(&attribute.dtype()?) {
        return Err("its scales are no references".into());
    }
    let lists = attribute.read_1d::<VarLenArray<ObjectReference1>>()?;
    let first = |list: &VarLenArray<ObjectReference1>| match file.dereference(list.first()?).ok()? {
        ReferencedObject::Dataset(scale) => Some(scale),
        _ => None,
    };
    Ok(lists.iter().map(first).collect())
}
