//! The state of a training as a checkpoint file, and back.

use super::history::Rows;
use crate::error::CliError;
use faer::Mat;
use gfe_encode::train::{Best, KeptCodes, OptimizerState, Position, State, Tally};
use gfe_io::{Checkpoint, StoredTensor};
use serde_json::{Value, json};
use std::path::Path;

/// What a checkpoint holds.
pub struct Kept {
    /// The state.
    pub state: State,
    /// The history so far.
    pub rows: Rows,
    /// Seconds spent.
    pub seconds: f64,
    /// What the training is of: see [`differences`].
    pub identity: Value,
}

/// Writes the file.
pub fn write(path: &Path, state: &State, rows: &Rows, seconds: f64, identity: &Value) -> Result<(), CliError> {
    let position = &state.position;
    let tally = &state.tally;
    let notes = json!({
        "identity": identity,
        "position": {"epoch": position.epoch, "batch": position.batch, "seen": position.seen, "due": position.due,
            "validates": position.validates, "waited": position.waited, "finished": position.finished},
        "tally": {"samples": tally.samples, "succeeded": tally.succeeded, "usable": tally.usable,
            "evaluations": tally.evaluations, "units": tally.units},
        "steps": state.steps,
        "best_seen": state.best.as_ref().map(|best| best.seen),
    });
    let flat = |values: &[f64]| StoredTensor {
        shape: vec![values.len()],
        values: values.to_vec(),
    };
    let counts = |steps: &[i32]| flat(&steps.iter().map(|step| f64::from(*step)).collect::<Vec<_>>());
    let best = state.best.as_ref();
    // As numbers in JSON these would not come back with the same bits.
    let scalars = [
        tally.sum,
        state.grad_norms,
        state.lowest,
        seconds,
        best.map_or(f64::NAN, |best| best.loss),
        state.first,
        state.rate,
    ];
    let codes = &state.codes.z;
    let z: Vec<f64> = (0..codes.ncols())
        .flat_map(|b| codes.col_as_slice(b).to_vec())
        .collect();
    let (shape, history) = rows.flat();
    let mut tensors = vec![
        ("values", flat(&state.values)),
        ("optimizer.mean", flat(&state.optimizer.mean)),
        ("optimizer.square", flat(&state.optimizer.square)),
        ("optimizer.steps", counts(&state.optimizer.steps)),
        (
            "codes.z",
            StoredTensor {
                shape: vec![codes.ncols(), codes.nrows()],
                values: z,
            },
        ),
        ("codes.mean", flat(&state.codes.optimizer.mean)),
        ("codes.square", flat(&state.codes.optimizer.square)),
        ("codes.steps", counts(&state.codes.optimizer.steps)),
        ("scalars", flat(&scalars)),
        ("history", StoredTensor { shape, values: history }),
    ];
    if let Some(best) = best {
        tensors.push(("best.values", flat(&best.values)));
    }
    let tensors = tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor));
    let checkpoint = Checkpoint {
        notes,
        tensors: tensors.collect(),
    };
    Ok(checkpoint.write(path)?)
}

/// Reads the file; `like` is the state of a fresh training, for the optimizers' rules.
pub fn read(path: &Path, like: &State) -> Result<Kept, CliError> {
    let mut file = Checkpoint::read(path)?;
    let bad = |what: &str| {
        CliError::BadData(format!(
            "{}: {what} is missing or wrong in this checkpoint",
            path.display()
        ))
    };
    let mut take = |name: &'static str| file.tensors.remove(name).ok_or_else(|| bad(name));
    let (values, z, scalars) = (take("values")?, take("codes.z")?, take("scalars")?.values);
    let mut memory = |like: &OptimizerState, names: [&'static str; 3]| -> Result<OptimizerState, CliError> {
        let [mean, square, steps] = names;
        let mut of = like.clone();
        (of.mean, of.square) = (take(mean)?.values, take(square)?.values);
        of.steps = take(steps)?.values.iter().map(|step| *step as i32).collect();
        Ok(of)
    };
    let optimizer = memory(
        &like.optimizer,
        ["optimizer.mean", "optimizer.square", "optimizer.steps"],
    )?;
    let of_codes = memory(&like.codes.optimizer, ["codes.mean", "codes.square", "codes.steps"])?;
    let history = take("history")?;
    let best = take("best.values").ok();
    let [count, size] = z.shape[..] else {
        return Err(bad("the shape of codes.z"));
    };
    let [sum, grad_norms, lowest, seconds, best_loss, first, rate] = scalars[..] else {
        return Err(bad("scalars"));
    };
    let notes = &file.notes;
    let number = |place: &str| notes.pointer(place).and_then(Value::as_u64).ok_or_else(|| bad(place));
    let truth = |place: &str| notes.pointer(place).and_then(Value::as_bool).ok_or_else(|| bad(place));
    let state = State {
        values: values.values,
        optimizer,
        codes: KeptCodes {
            z: Mat::from_fn(size, count, |r, b| z.values[b * size + r]),
            optimizer: of_codes,
        },
        position: Position {
            epoch: number("/position/epoch")? as u32,
            batch: number("/position/batch")? as usize,
            seen: number("/position/seen")?,
            due: truth("/position/due")?,
            validates: truth("/position/validates")?,
            waited: number("/position/waited")? as u32,
            finished: truth("/position/finished")?,
        },
        tally: Tally {
            samples: number("/tally/samples")? as usize,
            succeeded: number("/tally/succeeded")? as usize,
            usable: number("/tally/usable")? as usize,
            sum,
            evaluations: number("/tally/evaluations")?,
            units: number("/tally/units")?,
        },
        grad_norms,
        steps: number("/steps")?,
        first,
        lowest,
        rate,
        best: match best {
            Some(best) => Some(Best {
                loss: best_loss,
                seen: number("/best_seen")?,
                values: best.values,
            }),
            None => None,
        },
    };
    Ok(Kept {
        state,
        rows: Rows::from_flat(&history.values),
        seconds,
        identity: notes.get("identity").cloned().unwrap_or_default(),
    })
}

/// Where two identities of trainings differ, as `place: one, other`; nothing where a training of the one may go on from a
/// checkpoint of the other.
pub fn differences(found: &Value, expected: &Value) -> Vec<String> {
    gfe_io::differences(found, expected, "in the checkpoint")
}
