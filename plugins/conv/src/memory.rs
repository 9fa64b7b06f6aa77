//! Where a product finds its values: what it was given, the tape, scratch, or its result.

use crate::columns::{batch, batch_mut};
use gfe_sdk::faer::prelude::IntoConst;
use gfe_sdk::{Cols, ColsMut};

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An argument of the product, by its number.
    Given(usize),
    /// Rows of the tape, from this one on.
    Tape(usize),
    /// Scratch, from this many columns' values on.
    Slot(usize),
    /// What the product writes.
    Result,
}

/// The memory of one block of columns.
pub(crate) struct Memory<'a> {
    /// Arguments.
    pub given: [Cols<'a>; 2],
    /// The tape, or what stands for it; a product that only reads the tape has none here.
    pub tape: ColsMut<'a>,
    /// Scratch: a value with slot s and n rows has the n x columns values from s x columns on.
    pub slots: &'a mut [f64],
    /// The result.
    pub result: ColsMut<'a>,
    /// Columns of all of them.
    pub columns: usize,
}

impl Memory<'_> {
    /// A value of so many rows.
    pub fn read(&self, place: Place, rows: usize) -> Cols<'_> {
        match place {
            Place::Given(index) => self.given[index],
            Place::Tape(row) => self.tape.as_ref().subrows(row, rows),
            Place::Slot(slot) => batch(&self.slots[slot * self.columns..], rows, self.columns),
            Place::Result => self.result.as_ref(),
        }
    }

    /// A value to read and another to write, each a place and rows. In the tape the one to write lies after the other.
    pub fn pair(&mut self, from: (Place, usize), to: (Place, usize)) -> (Cols<'_>, ColsMut<'_>) {
        let columns = self.columns;
        let Memory {
            given,
            tape,
            slots,
            result,
            ..
        } = self;
        let span = |slot: usize, rows: usize| slot * columns..(slot + rows) * columns;
        match to.0 {
            Place::Tape(row) => {
                let (below, own) = tape.as_mut().split_at_row_mut(row);
                let read = match from.0 {
                    Place::Given(index) => given[index],
                    Place::Tape(row) => below.into_const().subrows(row, from.1),
                    Place::Slot(slot) => batch(&slots[span(slot, from.1)], from.1, columns),
                    Place::Result => unreachable!("a result is not read"),
                };
                (read, own.subrows_mut(0, to.1))
            }
            Place::Slot(slot) => {
                let own = span(slot, to.1);
                let (read, own) = match from.0 {
                    Place::Given(index) => (given[index], &mut slots[own]),
                    Place::Tape(row) => (tape.as_ref().subrows(row, from.1), &mut slots[own]),
                    Place::Slot(slot) => {
                        let apart = slots.get_disjoint_mut([span(slot, from.1), own]);
                        let [read, own] = apart.expect("values that live at the same time lie apart");
                        (batch(read, from.1, columns), own)
                    }
                    Place::Result => unreachable!("a result is not read"),
                };
                (read, batch_mut(own, to.1, columns))
            }
            Place::Result => {
                let read = match from.0 {
                    Place::Given(index) => given[index],
                    Place::Tape(row) => tape.as_ref().subrows(row, from.1),
                    Place::Slot(slot) => batch(&slots[span(slot, from.1)], from.1, columns),
                    Place::Result => unreachable!("a result is not read"),
                };
                (read, result.as_mut())
            }
            Place::Given(_) => unreachable!("an argument is not written"),
        }
    }
}
