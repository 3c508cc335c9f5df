//! What is known after several ways, of which one is gone.

use std::collections::BTreeMap;

use super::{State, UNKNOWN};

/// The state after several ways.
pub(super) fn joined<'a>(before: State<'a>, ends: &[State<'a>], because: &str) -> State<'a> {
    let mut state = State { status: None, ..before };
    let Some(first) = ends.first() else { return state };
    let names: std::collections::BTreeSet<&String> =
        ends.iter().flat_map(|end| end.variables.keys()).collect();
    let mut variables = BTreeMap::new();
    for name in names {
        let value = first.variables.get(name);
        // One that is set in one way alone is as if it were empty in the others.
        let all_alike = ends.iter().all(|end| end.variables.get(name) == value);
        let value = match (all_alike, value) {
            (true, Some(value)) => value.clone(),
            _ => UNKNOWN.to_string(),
        };
        if name == "default" && !all_alike {
            state.because = Some(because.to_owned());
        }
        variables.insert(name.clone(), value);
    }
    state.variables = variables;
    state.any_may_be_set = ends.iter().any(|end| end.any_may_be_set);
    state.functions = ends.iter().flat_map(|end| end.functions.clone()).collect();
    state.lost = ends.iter().find_map(|end| end.lost.clone());
    state.because = state.because.or_else(|| ends.iter().find_map(|end| end.because.clone()));
    state.is_hypervisor = first.is_hypervisor;
    state.other = ends.iter().find_map(|end| end.other.clone());
    let is_alike = ends.iter().all(|end| end.kernel == first.kernel);
    state.kernel = if is_alike { first.kernel.clone() } else { Some(UNKNOWN.to_string()) };
    // What all ways have in common is known.
    let is_common = |word: &&str| ends.iter().all(|end| end.options.split(' ').any(|own| own == *word));
    state.options = first.options.split(' ').filter(is_common).collect::<Vec<_>>().join(" ");
    // Where all ways end, it is over; where some do, what follows may not be carried out.
    state.is_over = ends.iter().all(|end| end.is_over);
    if !state.is_over && ends.iter().any(|end| end.is_over) {
        state.lost.get_or_insert_with(|| format!("where it ends depends on {because}"));
    }
    state
}
