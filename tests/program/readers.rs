//! Outputs in the hands of others.

use crate::{Folder, python, works};

#[test]
fn xarray_h5netcdf_netcdf4_nexusformat_and_h5dump_of_1_10_read_an_output() {
    let (folder, model) = (Folder::default(), "tests/data/mnist_decoder.safetensors");
    let output = folder.path("codes.h5");
    let input = "tests/data/mnist_test_200.h5";
    works(&[
        "encode",
        input,
        "-m",
        model,
        "-o",
        &output,
        "--rows",
        "5..25",
        "--reconstruction",
        "--trace",
    ]);
    python("tests/check_readers.py", &[&output, "5", "20"]);
}
