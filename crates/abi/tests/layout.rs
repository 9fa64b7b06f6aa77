//! The sizes and offsets that a plugin written against the C header relies on, with pointers of 64 bits.
#![cfg(target_pointer_width = "64")]

use core::mem::{offset_of, size_of};

use gfe_abi::*;

#[test]
fn views_are_a_pointer_and_counts() {
    assert_eq!(size_of::<Matrix>(), 32);
    assert_eq!(size_of::<MatrixMut>(), 32);
    assert_eq!(
        [
            offset_of!(Matrix, data),
            offset_of!(Matrix, rows),
            offset_of!(Matrix, cols),
            offset_of!(Matrix, col_stride)
        ],
        [0, 8, 16, 24]
    );
    assert_eq!(
        [
            offset_of!(MatrixMut, data),
            offset_of!(MatrixMut, rows),
            offset_of!(MatrixMut, cols),
            offset_of!(MatrixMut, col_stride)
        ],
        [0, 8, 16, 24]
    );
    let pairs = [
        size_of::<Slice>(),
        size_of::<SliceMut>(),
        size_of::<Text>(),
        size_of::<TextMut>(),
    ];
    assert_eq!(pairs, [16; 4]);
    let lengths = [
        offset_of!(Slice, len),
        offset_of!(SliceMut, len),
        offset_of!(Text, len),
        offset_of!(TextMut, len),
    ];
    assert_eq!(lengths, [8; 4]);
}

#[test]
fn a_status_is_an_int_and_keeps_its_number() {
    assert_eq!(size_of::<Status>(), 4);
    assert_eq!(
        [Status::OK.0, Status::DISCARD.0, Status::ERROR.0, Status::FATAL.0],
        [0, 1, 2, 3]
    );
}

#[test]
fn the_entry_begins_with_magic_size_and_version() {
    assert_eq!(MAGIC, 0x4746_4550_4C55_4700);
    assert_eq!(
        [
            offset_of!(PluginEntry, magic),
            offset_of!(PluginEntry, size),
            offset_of!(PluginEntry, version),
            offset_of!(PluginEntry, get_factory)
        ],
        [0, 8, 16, 24]
    );
    assert_eq!(size_of::<PluginEntry>(), 32);
    assert_eq!(
        [
            offset_of!(HostInfo, size),
            offset_of!(HostInfo, version),
            offset_of!(HostInfo, program)
        ],
        [0, 8, 16]
    );
    assert_eq!([offset_of!(Version, major), offset_of!(Version, minor)], [0, 4]);
}

#[test]
fn a_decoders_description_and_factory_keep_their_places() {
    assert_eq!(
        [
            offset_of!(DecoderInfo, size),
            offset_of!(DecoderInfo, id),
            offset_of!(DecoderInfo, title),
            offset_of!(DecoderInfo, version),
            offset_of!(DecoderInfo, threads),
            offset_of!(DecoderInfo, precision)
        ],
        [0, 8, 16, 24, 32, 36]
    );
    assert_eq!(
        [
            offset_of!(DecoderFactory, size),
            offset_of!(DecoderFactory, count),
            offset_of!(DecoderFactory, info),
            offset_of!(DecoderFactory, create)
        ],
        [0, 8, 16, 24]
    );
    assert_eq!(
        [
            offset_of!(DecoderInstance, table),
            offset_of!(DecoderInstance, instance)
        ],
        [0, 8]
    );
}

#[test]
fn a_point_and_the_decoders_functions_keep_their_places() {
    assert_eq!(
        [
            offset_of!(At, size),
            offset_of!(At, params_version),
            offset_of!(At, params),
            offset_of!(At, z),
            offset_of!(At, context)
        ],
        [0, 8, 16, 32, 64]
    );
    assert_eq!(
        [
            offset_of!(DecoderTable, size),
            offset_of!(DecoderTable, shape),
            offset_of!(DecoderTable, scratch_len),
            offset_of!(DecoderTable, forward),
            offset_of!(DecoderTable, vjp),
            offset_of!(DecoderTable, last_error),
            offset_of!(DecoderTable, destroy),
            offset_of!(DecoderTable, extension)
        ],
        [0, 8, 16, 24, 32, 40, 48, 56]
    );
    assert_eq!(
        [size_of::<At>(), size_of::<DecoderTable>(), size_of::<Shape>()],
        [96, 64, 40]
    );
    assert_eq!(
        [
            offset_of!(Shape, latent),
            offset_of!(Shape, data),
            offset_of!(Shape, params),
            offset_of!(Shape, context),
            offset_of!(Shape, tape)
        ],
        [0, 8, 16, 24, 32]
    );
}

#[test]
fn extensions_begin_with_their_size() {
    assert_eq!([offset_of!(TangentTable, size), offset_of!(TangentTable, jvp)], [0, 8]);
    assert_eq!(
        [
            offset_of!(TrainableTable, size),
            offset_of!(TrainableTable, init),
            offset_of!(TrainableTable, params_vjp)
        ],
        [0, 8, 16]
    );
}
