//! Tables of a library as the host knows them: read as far as they go.

use core::ffi::{CStr, c_char};

/// A struct of the interface that begins with its size in bytes and only grows at its end.
///
/// # Safety
/// The type is `repr(C)`, begins with a `usize`, and all bytes zero is a value of it.
pub(crate) unsafe trait Table: Copy {
    /// Name in the header.
    const NAME: &'static str;
    /// The sizes that the host knows to be too small for anything.
    const LEAST: usize = size_of::<usize>();
}

macro_rules! tables {
    ($($table:ident = $name:literal),* $(,)?) => {
        $(
            // SAFETY: repr(C), its first member is `size: usize`, and its other members are integers, nullable pointers and
            // Options of function pointers.
            unsafe impl Table for gfe_abi::$table {
                const NAME: &'static str = $name;
            }
        )*
    };
}

tables! {
    DecoderInfo = "gfe_decoder_info",
    DecoderFactory = "gfe_decoder_factory",
    DecoderTable = "gfe_decoder_table",
    TangentTable = "gfe_tangent_table",
    TrainableTable = "gfe_trainable_table",
    SecondOrderTable = "gfe_second_order_table",
    LatentsTable = "gfe_latents_table",
    GuessTable = "gfe_guess_table",
    DatasetInfo = "gfe_dataset_info",
    DatasetFactory = "gfe_dataset_factory",
    DatasetTable = "gfe_dataset_table",
}

/// A copy of the table at `table`; members beyond its own size are null. `None` for a null pointer or an absurd size.
///
/// # Safety
/// `table` is null, or points to a `usize` and as many bytes as that says.
pub(crate) unsafe fn read<T: Table>(table: *const T) -> Option<T> {
    if table.is_null() || !table.is_aligned() {
        return None;
    }
    // SAFETY: the caller's promise; `size` is its first member.
    let size = unsafe { table.cast::<usize>().read() };
    if size < T::LEAST || size > 1 << 20 {
        return None;
    }
    let mut copy = core::mem::MaybeUninit::<T>::zeroed();
    let bytes = size.min(size_of::<T>());
    // SAFETY: both hold that many bytes; the rest stays zero, which the trait promises to be a value.
    unsafe {
        core::ptr::copy_nonoverlapping(table.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), bytes);
        Some(copy.assume_init())
    }
}

/// The text at `text`, with what is not UTF-8 replaced; empty for a null pointer.
///
/// # Safety
/// `text` is null or ends with a NUL.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::read;
    use gfe_abi::{DecoderTable, Status, TangentTable};

    #[test]
    fn members_beyond_a_tables_size_are_null() {
        unsafe extern "C" fn jvp(
            _: *mut core::ffi::c_void,
            _: *const gfe_abi::At,
            _: gfe_abi::Matrix,
            _: gfe_abi::Matrix,
            _: gfe_abi::MatrixMut,
            _: gfe_abi::SliceMut,
        ) -> Status {
            Status::OK
        }
        let mut table = TangentTable {
            size: size_of::<TangentTable>(),
            jvp: Some(jvp),
        };
        // SAFETY: it is a table of that size.
        assert!(unsafe { read(&raw const table) }.is_some_and(|table| table.jvp.is_some()));
        table.size = 8;
        // SAFETY: it is a table of at least that size.
        assert!(unsafe { read(&raw const table) }.is_some_and(|table| table.jvp.is_none()));
        table.size = 0;
        // SAFETY: only the size is read.
        assert!(unsafe { read(&raw const table) }.is_none());
        // SAFETY: null is allowed.
        assert!(unsafe { read(core::ptr::null::<DecoderTable>()) }.is_none());
    }
}
