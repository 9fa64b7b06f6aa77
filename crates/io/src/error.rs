//! What can go wrong with a file, and the exit code that says so.

use std::io;
use std::path::PathBuf;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// There is no such file.
    #[error("{}: no such file; check the path", path.display())]
    NotFound {
        /// The file asked for.
        path: PathBuf,
    },
    /// The operating system did not let us read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no regular file, so that it has no length to check against and may never end.
    #[error("{}: is {what}; name a regular file", path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// An attribute that names missing values cannot be understood.
    #[error(
        "{path}: its attribute `{attribute}` is {found}: a number, or up to {limit}, are needed there; mend or delete it"
    )]
    BadMissing {
        /// The dataset.
        path: String,
        /// The attribute.
        attribute: &'static str,
        /// What it is.
        found: String,
        /// How many numbers there may be.
        limit: usize,
    },
    /// The file could not be created.
    #[error("{}: cannot be created: {source}; choose a folder that exists and is writable", path.display())]
    Create {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Writing failed after the file had been created; what stood there before still stands.
    #[error("{}: writing failed: {source}; free some space and run it again", path.display())]
    Write {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk has no room for the output.
    #[error("{}: needs up to {bytes} bytes{}: {source}; free some space or choose another disk", path.display(),
        free.map_or(String::new(), |free| format!(", and {free} are free")))]
    NoSpace {
        /// The file asked for.
        path: PathBuf,
        /// Upper bound of its size.
        bytes: u64,
        /// What the disk has, where that is known.
        free: Option<u64>,
        /// What the operating system said.
        source: io::Error,
    },
    /// The header of a safetensors file announces more bytes than a decoder can need, or than the file has.
    #[error("{}: its safetensors header claims {claimed} bytes, at most {limit} can be; is it a safetensors file?", path.display())]
    HeaderTooLarge {
        /// The file asked for.
        path: PathBuf,
        /// Length that its first eight bytes announce.
        claimed: u64,
        /// The most that it may be.
        limit: u64,
    },
    /// The file is not a well-formed safetensors file.
    #[error("{}: not a valid safetensors file: {source}", path.display())]
    BadSafetensors {
        /// The file asked for.
        path: PathBuf,
        /// What the parser said.
        source: safetensors::SafeTensorError,
    },
    /// Two tensors or metadata values have the same name.
    #[error("{}: `{name}` stands twice in its header; save it again", path.display())]
    DuplicateTensor {
        /// The file asked for.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The file is pickled Python objects, or an archive of some.
    #[error(
        "{}: is a pickle, as torch.save writes it: reading one runs whatever code is in it, so that it is never read; where \
         you trust it, convert it once: python3 -c \"import torch, safetensors.torch as s; \
         s.save_file(torch.load('{}', weights_only=True), 'model.safetensors')\", or use datasets/gfe_export.py, which adds \
         the architecture",
        path.display(), path.display()
    )]
    Pickle {
        /// The file asked for.
        path: PathBuf,
    },
    /// A metadata value is longer than an architecture or settings can be.
    #[error("{}: metadata `{key}` has {found} bytes, at most {limit} can be", path.display())]
    MetadataTooLarge {
        /// The file asked for.
        path: PathBuf,
        /// The metadata key.
        key: &'static str,
        /// Its length.
        found: usize,
        /// The most that it may be.
        limit: usize,
    },
    /// The metadata lacks `gfe.decoder`.
    #[error(
        "{}: no `gfe.decoder` in its metadata, so the architecture is unknown; save it with that key, e.g. \
         {{\"decoder\": \"dense\", \"latent\": 20, \"layers\": [150, 784], \"activation\": \"elu\", \"output\": \"logits\"}}",
        path.display()
    )]
    NoDecoder {
        /// The file asked for.
        path: PathBuf,
    },
    /// A metadata value is not JSON.
    #[error("{}: metadata `{key}` is not JSON: {source}", path.display())]
    BadMetadata {
        /// The file asked for.
        path: PathBuf,
        /// The metadata key.
        key: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A tensor has a type that weights cannot have.
    #[error("{}: tensor `{name}` has type {found}; convert it to F32 or F64", path.display())]
    TensorType {
        /// The file asked for.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// The decoder has a tensor that the file lacks.
    #[error("the decoder needs a tensor `{name}` of shape {shape:?}; the file has {present:?}")]
    TensorMissing {
        /// The tensor asked for.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What the file has instead.
        present: Vec<String>,
    },
    /// The file has tensors that the decoder lacks.
    #[error("the decoder has no tensors {names:?}; check that `gfe.decoder` describes these weights")]
    TensorExtra {
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor's shape is not the decoder's.
    #[error("tensor `{name}` has shape {found:?}, the decoder needs {expected:?}; check `gfe.decoder`")]
    TensorShape {
        /// The tensor.
        name: String,
        /// What the decoder needs.
        expected: Vec<usize>,
        /// What the file has.
        found: Vec<usize>,
    },
    /// A tensor's values do not fill its shape, or it has too many axes.
    #[error(
        "tensor `{name}` of shape {shape:?} came with {found} values; they must fill it, along {rank_limit} axes at most"
    )]
    TensorValues {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Most axes.
        rank_limit: usize,
        /// Number of values.
        found: usize,
    },
    /// A flat parameter vector does not have the length of its tensors.
    #[error("{found} parameters were given for tensors of {expected} values")]
    ParamsLength {
        /// What the tensors add up to.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The file is not HDF5, or is damaged.
    #[error("{}: not a readable HDF5 file ({source}); convert it, e.g. with h5py", path.display())]
    NotHdf5 {
        /// The file asked for.
        path: PathBuf,
        /// What HDF5 said.
        source: hdf5::Error,
    },
    /// Another program has the file open for writing.
    #[error(
        "{}: is locked by another program: run this again once that is done, or say --hdf5-locking off where the file system \
         has no locks to speak of",
        path.display()
    )]
    Locked {
        /// The file asked for.
        path: PathBuf,
    },
    /// The file has no dataset of that name.
    #[error("{}: no dataset `{dataset}`; its numeric datasets are {numeric:?}", path.display())]
    NoDataset {
        /// The file asked for.
        path: PathBuf,
        /// The dataset asked for.
        dataset: String,
        /// What there is instead.
        numeric: Vec<String>,
    },
    /// No dataset was named and the file has none or several.
    #[error("{}: name one dataset as FILE:/DATASET; its numeric datasets are {numeric:?}", path.display())]
    NotUnique {
        /// The file asked for.
        path: PathBuf,
        /// What there is to choose from.
        numeric: Vec<String>,
    },
    /// The values are neither integers nor floats.
    #[error("{path}: holds values of type {found}; integers or floats are needed")]
    NotNumeric {
        /// File and dataset.
        path: String,
        /// The type found.
        found: String,
    },
    /// The dataset has no sample axis, too many axes, or samples without values or with too many.
    #[error(
        "{path}: has shape {shape:?}; needed are 1 to {rank_limit} axes, samples first, and 1 to {values_limit} values \
         a sample"
    )]
    BadShape {
        /// File and dataset.
        path: String,
        /// The shape found.
        shape: Vec<usize>,
        /// Most axes.
        rank_limit: usize,
        /// Most values of a sample.
        values_limit: usize,
    },
    /// The values lie in another file.
    #[error(
        "{path}: its values lie in another file; copy them into one file, e.g. with h5repack, or gfe merge OUTPUT --force for an output over parts; or say --allow-external where \
         you know that file"
    )]
    ForeignStorage {
        /// File and dataset.
        path: String,
    },
    /// The dataset declares far more than its file can hold packed.
    #[error(
        "{path}: declares {declared} bytes of values, and its file holds {stored} of them: it was not written to its end; \
         write it again, with the length that it has"
    )]
    Unwritten {
        /// File and dataset.
        path: String,
        /// Bytes of all values.
        declared: u64,
        /// Bytes in the file.
        stored: u64,
    },
    /// The chunks are too large to be held, or too many.
    #[error("{path}: its chunks of {chunk:?} are {found} {what}, and {limit} can be held; rewrite it: {repack}")]
    BadChunks {
        /// File and dataset.
        path: String,
        /// Lengths of a chunk.
        chunk: Vec<u64>,
        /// How many.
        found: u64,
        /// Most.
        limit: u64,
        /// Of what.
        what: &'static str,
        /// The command that mends it.
        repack: String,
    },
    /// The values are packed in a way that a plain HDF5 cannot unpack, or that cannot be checked before.
    #[error(
        "{path}: its filters are {filters:?}; shuffle, then gzip, then fletcher32 are read; where the program that wrote it \
         is at hand, rewrite it there: {repack}"
    )]
    BadFilters {
        /// File and dataset.
        path: String,
        /// The filters, in their order.
        filters: Vec<String>,
        /// The command that mends it.
        repack: String,
    },
    /// What is stored of a chunk cannot be one.
    #[error(
        "{path}: its chunk at {offset:?} is {what}: {stored} bytes for {unpacked}; it is damaged, fetch or write it again"
    )]
    BadChunk {
        /// File and dataset.
        path: String,
        /// The chunk's first value.
        offset: Vec<u64>,
        /// Bytes in the file.
        stored: u64,
        /// Bytes of a chunk.
        unpacked: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Rows cannot be read.
    #[error("{path}: rows {first}..{end} cannot be read: {source}; the file may be damaged: fetch or write it again")]
    Rows {
        /// File and dataset.
        path: String,
        /// The first of the rows.
        first: usize,
        /// The one after the last.
        end: usize,
        /// What HDF5 said.
        source: hdf5::Error,
    },
    /// A dataset that is to be passed through cannot be.
    #[error(
        "{path}: {what}; keep a dataset of numbers or texts with one value per sample, such as one of {candidates:?}"
    )]
    BadCoordinate {
        /// File and dataset.
        path: String,
        /// What is wrong with it.
        what: String,
        /// What there is to choose from.
        candidates: Vec<String>,
    },
    /// The file is HDF5, but not one of encoded or decoded samples.
    #[error("{}: {what}; a file written by `gfe encode` or `gfe decode` is needed", path.display())]
    NotEncoded {
        /// The file asked for.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// Another run holds the output.
    #[error("{}: another run is at work on this output; wait for it, or choose another name", path.display())]
    Held {
        /// The lock.
        path: PathBuf,
    },
    /// What is there of the output belongs to other settings, weights or data.
    #[error(
        "{} holds parts of another output ({}); run it as it was begun, choose another name, or drop them by --force",
        path.display(), differences.join("; ")
    )]
    OtherParts {
        /// The folder of the parts.
        path: PathBuf,
        /// Where they differ.
        differences: Vec<String>,
    },
    /// The file does not say what the parts of an output are.
    #[error("{}: no manifest of parts: {what}; --force begins anew", path.display())]
    NotManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Rows of an output are in none of its parts.
    #[error("{}: rows {rows:?} are missing; encode them, then merge", path.display())]
    RowsMissing {
        /// The folder of the parts.
        path: PathBuf,
        /// The rows, in ranges.
        rows: Vec<std::ops::Range<usize>>,
    },
    /// A part does not belong to its output.
    #[error("{}: {what}; remove it and encode its rows again", path.display())]
    BadPart {
        /// The part.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file is no checkpoint, or not one as it was written.
    #[error("{}: {what}; take a checkpoint written by `gfe train`", path.display())]
    NotCheckpoint {
        /// The file asked for.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// The file is no history of a training.
    #[error("{}: {what}; take a history written by `gfe train`", path.display())]
    NotHistory {
        /// The file asked for.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// A column, table or note of a history cannot have its name.
    #[error("a {kind} of a history cannot be called {name:?}: {what}")]
    HistoryName {
        /// Column, table or note.
        kind: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Rows do not fit the layout that the output was created with.
    #[error("{}: {what}: {found} came, {expected} were announced", path.display())]
    RowsDoNotFit {
        /// The output.
        path: PathBuf,
        /// What was counted.
        what: &'static str,
        /// As announced in the layout.
        expected: usize,
        /// As given.
        found: usize,
    },
    /// HDF5 failed in a way that has no name of its own here.
    #[error("{}: HDF5 failed: {source}", path.display())]
    Hdf5 {
        /// The file asked for.
        path: PathBuf,
        /// What HDF5 said.
        source: hdf5::Error,
    },
}

impl IoError {
    /// Exit code of the program, after BSD's sysexits: 65 bad data, 66 no input, 73 cannot create, 74 I/O error, 75 held by
    /// another program.
    pub fn exit_code(&self) -> u8 {
        match self {
            IoError::NotFound { .. } | IoError::NoDataset { .. } | IoError::NotAFile { .. } => 66,
            IoError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 66,
            IoError::Create { .. } | IoError::OtherParts { .. } => 73,
            IoError::Held { .. } | IoError::Locked { .. } => 75,
            IoError::Read { .. } | IoError::Write { .. } | IoError::NoSpace { .. } | IoError::Hdf5 { .. } => 74,
            _ => 65,
        }
    }
}
