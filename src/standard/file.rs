//! Reading `karat.toml`. Unknown keys are errors, every value is checked, and what is wrong is shown in its
//! line.

use std::fmt::Display;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{Counted, Mode, Standard};
use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    target: TargetTable,
    #[serde(default)]
    baseline: BaselineTable,
    fail_on_unsupported: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TargetTable {
    mode: Option<Mode>,
    days: Option<Spanned<i64>>,
    grace_days: Option<Spanned<i64>>,
    warn_days: Option<Spanned<i64>>,
    counts: Option<Counted>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BaselineTable {
    max_age_days: Option<Spanned<i64>>,
    max_host_age_days: Option<Spanned<i64>>,
    min_hosts: Option<Spanned<i64>>,
    adoption_share: Option<Spanned<f64>>,
    min_compared_share: Option<Spanned<f64>>,
}

/// The longest span of days that a value may say: ten years.
const MAX_DAYS: i64 = 3650;

/// The grace of a calendar target must end within the shortest quarter.
const MAX_GRACE_DAYS: i64 = 89;

impl Standard {
    /// Reads a standard; what it does not say keeps its default.
    ///
    /// # Errors
    /// `Config`, with the line, if it is no TOML, has an unknown key, or a value out of its range.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File =
            toml::from_str(text).map_err(|error| Error::config(error.to_string().trim_end().to_owned()))?;
        let mut standard = Standard::default();
        let check = Check { text };
        let target = &mut standard.target;
        target.mode = file.target.mode.unwrap_or(target.mode);
        target.counts = file.target.counts.unwrap_or(target.counts);
        check.days(&mut target.days, "target.days", file.target.days, 1..=MAX_DAYS)?;
        check.days(
            &mut target.grace_days,
            "target.grace_days",
            file.target.grace_days,
            0..=MAX_GRACE_DAYS,
        )?;
        check.days(&mut target.warn_days, "target.warn_days", file.target.warn_days, 0..=MAX_DAYS)?;
        let rules = &mut standard.baseline;
        let table = file.baseline;
        check.days(&mut rules.max_age_days, "baseline.max_age_days", table.max_age_days, 0..=MAX_DAYS)?;
        let host_age = table.max_host_age_days;
        check.days(&mut rules.max_host_age_days, "baseline.max_host_age_days", host_age, 0..=MAX_DAYS)?;
        if let Some(hosts) = table.min_hosts {
            rules.min_hosts = usize::try_from(*hosts.get_ref())
                .ok()
                .filter(|hosts| (1..=1_000_000).contains(hosts))
                .ok_or_else(|| check.out_of_range("baseline.min_hosts", &hosts, "1 to 1000000"))?;
        }
        if let Some(share) = table.adoption_share {
            rules.adoption_share = Some(*share.get_ref())
                .filter(|share| *share > 0.0 && *share <= 1.0)
                .ok_or_else(|| check.out_of_range("baseline.adoption_share", &share, "above 0, up to 1"))?;
        }
        if let Some(share) = table.min_compared_share {
            rules.min_compared_share = Some(*share.get_ref())
                .filter(|share| (0.0..=1.0).contains(share))
                .ok_or_else(|| check.out_of_range("baseline.min_compared_share", &share, "0 to 1"))?;
        }
        standard.fail_on_unsupported = file.fail_on_unsupported.unwrap_or(standard.fail_on_unsupported);
        Ok(standard)
    }
}

struct Check<'a> {
    text: &'a str,
}

impl Check<'_> {
    fn days(
        &self,
        into: &mut i64,
        key: &str,
        value: Option<Spanned<i64>>,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        if !allowed.contains(value.get_ref()) {
            let allowed = format!("{} to {}", allowed.start(), allowed.end());
            return Err(self.out_of_range(key, &value, &allowed));
        }
        *into = *value.get_ref();
        Ok(())
    }

    fn out_of_range<T: Display>(&self, key: &str, value: &Spanned<T>, allowed: &str) -> Error {
        let (number, line) = self.line(value.span());
        Error::config(format!(
            "`{key}` is out of range: {}; allowed: {allowed}\n  |\n{number} | {line}\n  |",
            value.get_ref()
        ))
        .at(format!("line {number}"))
    }

    fn line(&self, span: Range<usize>) -> (usize, &str) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let number = before.matches('\n').count() + 1;
        (number, self.text.lines().nth(number - 1).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_says_what_differs_from_the_default() {
        assert_eq!(Standard::parse("").unwrap(), Standard::default());
        let text = "fail_on_unsupported = false\n[target]\nmode = \"calendar\"\ngrace_days = 20\n\
                    counts = \"security\"\n[baseline]\nmin_hosts = 5\nadoption_share = 0.25\n\
                    min_compared_share = 0.75\n";
        let mut want = Standard { fail_on_unsupported: false, ..Standard::default() };
        want.target.mode = Mode::Calendar;
        want.target.grace_days = 20;
        want.target.counts = Counted::Security;
        want.baseline.min_hosts = 5;
        want.baseline.adoption_share = 0.25;
        want.baseline.min_compared_share = 0.75;
        assert_eq!(Standard::parse(text).unwrap(), want);
    }

    #[test]
    fn what_is_wrong_is_shown_in_its_line() {
        for (text, part) in [
            ("[target]\ndyas = 92\n", "2 | dyas = 92"),
            ("[target]\nmode = \"lunar\"\n", "2 | mode = \"lunar\""),
            ("\n[target]\ndays = 0\n", "line 3: `target.days` is out of range: 0; allowed: 1 to 3650"),
            ("[target]\ngrace_days = 90\n", "allowed: 0 to 89"),
            ("[baseline]\nadoption_share = 1.5 # all\n", "2 | adoption_share = 1.5 # all"),
            ("[baseline]\nmin_compared_share = 1.5\n", "`baseline.min_compared_share` is out of range: 1.5"),
            ("[baseline]\nmin_compared_share = nan\n", "allowed: 0 to 1"),
            ("[baseline]\nmin_hosts = 0\n", "`baseline.min_hosts` is out of range: 0"),
            ("[targets]\n", "unknown field `targets`"),
        ] {
            let error = Standard::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
