use super::*;

fn with(sets: &[&str]) -> Settings {
    let mut settings = Settings::default();
    for set in sets {
        settings.set(set, &SECTIONS).expect("the key is known");
    }
    settings
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    let said = Settings::default()
        .set("gtoll=1", &SECTIONS)
        .expect_err("there is no such key")
        .to_string();
    assert!(said.contains("`method.gtol`"), "{said}");
    let said = Settings::default()
        .set("input=1", &SECTIONS)
        .expect_err("two sections have it")
        .to_string();
    assert!(said.contains("`encode.input` or `data.input`"), "{said}");
}

#[test]
fn a_key_of_another_command_is_refused_and_a_bare_one_looked_up_in_its_own_sections() {
    let mut settings = Settings::default();
    let said = settings
        .set("train.epochs=3", &["method", "encode"])
        .expect_err("it is of train");
    assert!(said.to_string().contains("of no use to this command"), "{said}");
    settings
        .set("rows=0..5", &["method", "encode"])
        .expect("one section has it");
    assert_eq!(
        settings.get::<String>("encode.rows").expect("a text").as_deref(),
        Some("0..5")
    );
}

#[test]
fn a_key_of_another_solver_is_refused_and_one_of_this_solver_named() {
    let said = with(&["solver=amd", "edm_tol=1"])
        .check()
        .expect_err("it is of ptc")
        .to_string();
    assert!(
        said.contains("solver amd") && said.contains("the nearest that does is"),
        "{said}"
    );
    assert!(with(&["solver=amd", "armijo=1"]).check().is_ok());
    assert!(with(&["armijo=1"]).check().is_err());
}

#[test]
fn values_are_toml_or_bare_text_and_later_ones_win() {
    let settings = with(&["gtol=1e-3", "gtol=1e-6", "solver=rk4", "t_end=inf"]);
    assert_eq!(settings.number("method.gtol", 0.0).expect("a number"), 1e-6);
    assert_eq!(settings.number("method.t_end", 0.0).expect("a number"), f64::INFINITY);
    assert_eq!(
        settings.get::<String>("method.solver").expect("a text").as_deref(),
        Some("rk4")
    );
}

#[test]
fn the_defaults_of_the_table_are_those_that_the_program_takes() {
    let config = serde_json::json!({"latent": 1, "layers": [1], "activation": "identity", "output": "values"});
    let able = crate::model::dense(config).expect("a decoder");
    let mut compared = std::collections::BTreeSet::new();
    let mut compare = |settings: &Settings| {
        for (name, taken) in settings.taken.borrow().iter() {
            let told = Key::named(name).default_value();
            if let Some(told) = told {
                assert_eq!(number_of(&told), number_of(taken), "{name}");
                compared.insert(*name);
            }
        }
    };
    for solver in choices_of("method.solver").expect("a choice") {
        for grid in ["uniform", "logarithmic"] {
            let settings = with(&[&format!("solver={solver}"), &format!("grid={grid}")]);
            crate::method::Method::new(&settings, &able, gfe_model::LossKind::Mse).expect("the defaults are good");
            compare(&settings);
        }
    }
    for [optimizer, schedule, gradient] in [
        ["rmsprop", "cosine", "adjoint"],
        ["adam", "step", "implicit"],
        ["adamw", "exponential", "approximate"],
    ] {
        let settings = with(&[
            &format!("optimizer={optimizer}"),
            &format!("schedule={schedule}"),
            &format!("gradient={gradient}"),
        ]);
        // There is no decoder to train; the section was read by then.
        assert!(crate::train::check(&settings, &able).is_err());
        compare(&settings);
    }
    assert!(compared.len() > 25, "{compared:?}");
}

#[test]
fn a_models_record_stands_below_everything_and_leaves_out_what_does_not_apply() {
    let mut settings = with(&["solver=amd", "t_end=5"]);
    let training = serde_json::json!({"solver": "ptc", "t_end": "inf", "edm_tol": 1e-3, "loss": "bce", "epochs": 3});
    settings.defaults(&training).expect("an object");
    assert!(settings.check().is_ok());
    assert_eq!(
        settings.get::<String>("method.solver").expect("a text").as_deref(),
        Some("amd")
    );
    assert_eq!(settings.get::<f64>("method.t_end").expect("a number"), Some(5.0));
    assert_eq!(
        settings.get::<String>("method.loss").expect("a text").as_deref(),
        Some("bce")
    );
}
