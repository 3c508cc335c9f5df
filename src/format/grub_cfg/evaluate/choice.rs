//! Which entry of a menu is the default.

use super::words::{short, without_device};
use super::{Certain, Default, Entry, Kind, Run, UNKNOWN};
use crate::error::Result;

impl Run<'_> {
    /// The default of the menu as it is, below these titles.
    pub(super) fn default(
        &mut self,
        depth: u64,
        above: String,
    ) -> Result<std::result::Result<Default, String>> {
        self.limits.boot_depth.check(depth)?;
        if let Some(why) = &self.state.lost {
            return Ok(Err(why.clone()));
        }
        if self.state.menu.is_empty() && depth == 0 {
            return Ok(match self.state.kernel.take() {
                Some(kernel) => {
                    let options = std::mem::take(&mut self.state.options);
                    Ok(Default { title: String::new(), id: None, kernel, version: None, options })
                }
                None => Err("it has no menu".to_owned()),
            });
        }
        let wanted = self.state.variables.get("default").cloned().unwrap_or_default();
        if wanted.contains(UNKNOWN) {
            let because =
                self.state.because.clone().unwrap_or_else(|| "what the image does not say".to_owned());
            return Ok(Err(format!("its default depends on {because}")));
        }
        let (first, rest) = split_default(&wanted);
        let entry = match chosen(&self.state.menu, &first) {
            Ok(Some(entry)) => entry.clone(),
            Ok(None) => return Ok(Err("the submenu of its default has no entry".to_owned())),
            Err(why) => return Ok(Err(why)),
        };
        let title = match above.is_empty() {
            true => entry.title.clone(),
            false => format!("{above} > {}", entry.title),
        };
        let body = match entry.kind {
            Kind::Bls { kernel, version, options } => {
                let kernel = without_device(&kernel).to_owned();
                // GRUB puts its variables in (`$kernelopts`).
                let words = options.split(' ').map(|word| match word.strip_prefix('$') {
                    Some(name) => self.value(name.trim_matches(['{', '}'])),
                    None => word.to_owned(),
                });
                let words = words.filter(|word| !word.contains(UNKNOWN) && !word.is_empty());
                let options = words.collect::<Vec<_>>().join(" ");
                return Ok(Ok(Default { title, id: entry.id, kernel, version, options }));
            }
            Kind::Submenu(body) => {
                self.state.menu.clear();
                self.state.variables.insert("default".to_owned(), rest);
                self.state.is_over = false;
                self.list(body, Certain::Yes, 1)?;
                return self.default(depth.saturating_add(1), title);
            }
            Kind::Entry(body) => body,
        };
        (self.state.kernel, self.state.other, self.state.is_over) = (None, None, false);
        self.list(body, Certain::Yes, 1)?;
        Ok(match (self.state.lost.take(), self.state.kernel.take(), self.state.other.take()) {
            (Some(why), _, _) => Err(why),
            (None, Some(kernel), _) if !kernel.contains(UNKNOWN) => {
                let options = std::mem::take(&mut self.state.options);
                Ok(Default { title, id: entry.id, kernel, version: None, options })
            }
            (None, Some(_), _) => {
                Err(format!("which kernel its default `{}` loads is not known", short(&title)))
            }
            (None, None, Some(other)) => {
                Err(format!("its default `{}` starts no Linux of its own ({other})", short(&title)))
            }
            (None, None, None) => Err(format!("its default `{}` loads no kernel", short(&title))),
        })
    }
}

/// The first part of a default, with `>>` as `>`, and the rest of it.
pub(super) fn split_default(text: &str) -> (String, String) {
    let mut first = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('>') {
        let (before, from) = rest.split_at(at);
        first.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        match after.strip_prefix('>') {
            Some(after) => {
                first.push('>');
                rest = after;
            }
            None => return (first, after.to_owned()),
        }
    }
    first.push_str(rest);
    (first, String::new())
}

/// The entry that a part of a default chooses; none of an empty menu.
pub(super) fn chosen<'m, 'a>(
    menu: &'m [Entry<'a>],
    wanted: &str,
) -> std::result::Result<Option<&'m Entry<'a>>, String> {
    let by_name = menu.iter().position(|entry| entry.title == wanted || entry.id.as_deref() == Some(wanted));
    let may_be_named = |entry: &Entry<'_>| {
        entry.title.contains(UNKNOWN) || entry.id.as_deref().is_some_and(|id| id.contains(UNKNOWN))
    };
    // GRUB takes what starts with a digit for a number, unless it has the patch with which ids start with one.
    let digits = wanted.len().saturating_sub(wanted.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let number = wanted.get(..digits).and_then(|digits| digits.parse::<usize>().ok());
    let is_number = digits == wanted.len();
    let index = match (number, by_name) {
        (Some(number), _) if is_number => number,
        (_, Some(index)) => {
            let entry = menu.get(index);
            let is_sure = menu.iter().take(index).all(|before| !may_be_named(before));
            return match entry.filter(|entry| is_sure && entry.certain == Certain::Yes) {
                Some(entry) => Ok(Some(entry)),
                None => Err(format!("whether its menu has the default `{}` is not known", short(wanted))),
            };
        }
        (_, None) if menu.iter().any(may_be_named) => {
            return Err(format!("whether its menu has the default `{}` is not known", short(wanted)));
        }
        (Some(_), None) => {
            return Err(format!(
                "its default `{}` is no entry of its menu, and starts with a number",
                short(wanted)
            ));
        }
        (None, None) => 0,
    };
    let index = if index < menu.len() { index } else { 0 };
    match menu.iter().take(index.saturating_add(1)).all(|entry| entry.certain == Certain::Yes) {
        true => Ok(menu.get(index)),
        false => Err(format!("which entry of its menu is number {index} is not known")),
    }
}
