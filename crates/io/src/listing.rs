//! What a file has to offer: its numeric datasets, and the names of a dataset's axes.

use hdf5::types::{FixedAscii, TypeDescriptor, VarLenArray, VarLenUnicode};
use hdf5::{Dataset, File, Group, IndexType, IterationOrder, LinkType, ObjectReference1, ReferencedObject};

/// Groups deeper than this are not searched.
const DEPTH_LIMIT: usize = 8;
/// A list of more names than this helps nobody.
const LIST_LIMIT: usize = 50;

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
        &|dataset: &Dataset| dataset.shape() == [samples],
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
        let path = format!("{prefix}/{name}");
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

fn is_numeric(dataset: &Dataset) -> bool {
    use TypeDescriptor::{Float, Integer, Unsigned};
    let descriptor = dataset.dtype().and_then(|dtype| dtype.to_descriptor());
    matches!(descriptor, Ok(Integer(_) | Unsigned(_) | Float(_)))
}

fn is_scale(dataset: &Dataset) -> bool {
    let class = dataset
        .attr("CLASS")
        .and_then(|class| class.read_scalar::<FixedAscii<16>>());
    class.is_ok_and(|class| class.as_str() == "DIMENSION_SCALE")
}

/// Name of each axis where the dataset has one: its label, else the name of its dimension scale.
pub(crate) fn dimension_names(file: &File, dataset: &Dataset) -> Vec<Option<String>> {
    let scales = scale_names(file, dataset).unwrap_or_default();
    let labels: Vec<String> = dataset
        .attr("DIMENSION_LABELS")
        .and_then(|labels| labels.read_1d::<VarLenUnicode>())
        .map(|labels| labels.iter().map(|label| label.to_string()).collect())
        .unwrap_or_default();
    let name = |axis: usize| {
        let label = labels.get(axis).filter(|label| !label.is_empty()).cloned();
        label.or_else(|| scales.get(axis).cloned().flatten())
    };
    (0..dataset.ndim()).map(name).collect()
}

/// Last part of the path of each axis' first scale.
fn scale_names(file: &File, dataset: &Dataset) -> hdf5::Result<Vec<Option<String>>> {
    let name = |scale: Option<Dataset>| scale.and_then(|scale| scale.name().rsplit('/').next().map(str::to_owned));
    Ok(scales_of(file, dataset)?.into_iter().map(name).collect())
}

/// Coordinates of each axis, where its first scale holds numbers, one-dimensional and no more than 2^20.
pub(crate) fn axis_values(file: &File, dataset: &Dataset) -> Vec<Option<Vec<f64>>> {
    let values = |scale: Option<Dataset>| {
        let scale = scale.filter(|scale| is_numeric(scale) && scale.ndim() == 1 && scale.size() <= 1 << 20)?;
        scale.read_raw::<f64>().ok()
    };
    let scales = scales_of(file, dataset).unwrap_or_default();
    scales.into_iter().map(values).collect()
}

/// The first scale of each axis.
pub(crate) fn scales_of(file: &File, dataset: &Dataset) -> hdf5::Result<Vec<Option<Dataset>>> {
    let lists = dataset
        .attr("DIMENSION_LIST")?
        .read_1d::<VarLenArray<ObjectReference1>>()?;
    let first = |list: &VarLenArray<ObjectReference1>| match file.dereference(list.first()?).ok()? {
        ReferencedObject::Dataset(scale) => Some(scale),
        _ => None,
    };
    Ok(lists.iter().map(first).collect())
}
