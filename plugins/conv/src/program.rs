//! The list of layers as a program: a sequence of steps, each of which makes one value from earlier ones.
//!
//! Value 0 is z, step i makes value i + 1, the last is x. `flatten` and `unflatten` are no steps: a value is a run of
//! numbers in C order. The tape holds the values that the products need and that are dear: inputs of activations, and
//! what linear, convolutional and residual layers made of which another layer with weights gets its input, be it through
//! activations and upsampling; those two are computed again where they are needed.

use crate::layer::Map;
use gfe_sdk::TensorSpec;

/// One step.
pub(crate) struct Step {
    /// The value that it starts from.
    pub from: usize,
    /// What it does.
    pub map: Map,
}

impl Step {
    /// The values that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = usize> + use<> {
        let other = match self.map {
            Map::Add(other) => Some(other),
            _ => None,
        };
        std::iter::once(self.from).chain(other)
    }

    /// Whether its result is computed again where it is needed, instead of being kept.
    fn is_cheap(&self) -> bool {
        match &self.map {
            Map::Affine(map) => map.weights().is_none(),
            Map::Activation(_) => true,
            Map::Add(_) => false,
        }
    }

    /// Whether it has weights.
    pub fn has_weights(&self) -> bool {
        matches!(&self.map, Map::Affine(map) if map.weights().is_some())
    }
}

/// A value: how long it is and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Numbers of one lane.
    pub len: usize,
    /// Its first row in the tape.
    pub tape: Option<usize>,
    /// Where it, its tangent or its cotangent lies in a column of scratch, apart from all that live at the same time.
    pub slot: usize,
    /// The last step that reads it.
    pub last_use: usize,
}

/// All steps, and the memory that they need.
pub(crate) struct Program {
    pub steps: Vec<Step>,
    pub values: Vec<Value>,
    /// P.
    pub params: usize,
    /// Of the weights, in their order.
    pub tensors: Vec<TensorSpec>,
    /// Rows of the tape.
    pub tape: usize,
    /// Scratch of one column for all slots.
    pub slots: usize,
    /// The longest value that is computed again as the input of a layer with weights.
    pub chain: usize,
    /// Scratch of any step, whatever the columns.
    pub tile: usize,
    /// Values of the widest activation.
    pub widest_activation: usize,
}

impl Program {
    /// Lays out memory for `steps`, at least one, whose values have the lengths `lens`, one more than there are steps.
    pub fn new(steps: Vec<Step>, lens: &[usize], params: usize, tensors: Vec<TensorSpec>) -> Self {
        let mut values: Vec<Value> = lens
            .iter()
            .map(|&len| Value {
                len,
                tape: None,
                slot: 0,
                last_use: 0,
            })
            .collect();
        for (index, step) in steps.iter().enumerate() {
            step.inputs().for_each(|value| values[value].last_use = index);
        }
        let kept = kept(&steps);
        let mut tape = 0;
        for (value, _) in values.iter_mut().zip(kept).filter(|(_, kept)| *kept) {
            value.tape = Some(tape);
            tape += value.len;
        }
        let slots = place(&mut values);
        let tiles = steps.iter().map(|step| match &step.map {
            Map::Affine(map) => map.tile_len(),
            _ => 0,
        });
        let tile = tiles.max().unwrap_or(0);
        let activations = steps.iter().filter(|step| matches!(step.map, Map::Activation(_)));
        let widest_activation = activations.map(|step| values[step.from].len).max().unwrap_or(0);
        let mut program = Program {
            steps,
            values,
            params,
            tensors,
            tape,
            slots,
            chain: 0,
            tile,
            widest_activation,
        };
        program.chain = program.longest_chain();
        program
    }

    /// The step that makes `value`, where the value is computed again instead of being read: not z, and not on the tape.
    pub fn remade(&self, value: usize) -> Option<&Step> {
        (value > 0 && self.values[value].tape.is_none()).then(|| &self.steps[value - 1])
    }

    /// The longest value between the tape and a layer with weights.
    fn longest_chain(&self) -> usize {
        let mut longest = 0;
        for step in self.steps.iter().filter(|step| step.has_weights()) {
            let mut value = step.from;
            while let Some(made) = self.remade(value) {
                longest = longest.max(self.values[value].len);
                value = made.from;
            }
        }
        longest
    }

    /// The last value.
    pub fn last(&self) -> usize {
        self.steps.len()
    }
}

/// Which values the tape keeps.
fn kept(steps: &[Step]) -> Vec<bool> {
    let mut kept = vec![false; steps.len() + 1];
    for step in steps {
        if matches!(step.map, Map::Activation(_)) {
            kept[step.from] = true;
        }
    }
    for step in steps.iter().filter(|step| step.has_weights()) {
        let mut value = step.from;
        while value > 0 && !kept[value] && steps[value - 1].is_cheap() {
            value = steps[value - 1].from;
        }
        kept[value] = true;
    }
    kept[0] = false;
    kept
}

/// Gives every value between z and x a slot, the lowest that is free from the step that makes it to the last that reads
/// it; the rows of all slots.
fn place(values: &mut [Value]) -> usize {
    let (mut rows, last) = (0, values.len() - 1);
    for index in 1..last {
        let mut living: Vec<(usize, usize)> = (1..index)
            .filter(|&other| values[other].last_use + 1 >= index)
            .map(|other| (values[other].slot, values[other].len))
            .collect();
        living.sort_unstable();
        let mut slot = 0;
        for (start, len) in living {
            if slot + values[index].len <= start {
                break;
            }
            slot = slot.max(start + len);
        }
        values[index].slot = slot;
        rows = rows.max(slot + values[index].len);
    }
    rows
}
