//! Decides from the summary of a part's columns whether rows of the part can match.

use deltafold_format::{KeySummary, NumberSummary, PartSummary, TextSummary, TypeSummaries};

use super::matcher::{DocumentTest, Matcher, Node, Test};
use super::scalars::{Numbers, Scalars, Side, Strings};

/// Whether rows of a part match a filter, as far as the summary of its columns tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chance {
    /// No row matches, so the part need not be read.
    Never,
    /// Some rows may match, and the columns decide.
    Maybe,
    /// Every row matches, so the filter need not be evaluated.
    Always,
}

impl Matcher {
    /// Whether rows of a part match, by its summary alone. The answer holds for every row that is a
    /// whole record.
    pub fn may_match(&self, summary: &PartSummary) -> Chance {
        self.root.chance(summary)
    }
}

impl Node {
    fn chance(&self, summary: &PartSummary) -> Chance {
        match self {
            Self::All(list) => list.iter().fold(Chance::Always, |chance, node| chance.and(|| node.chance(summary))),
            Self::Any(list) => {
                let fails = list.iter().fold(Chance::Always, |chance, node| chance.and(|| node.chance(summary).not()));
                fails.not()
            }
            Self::Not(inner) => inner.chance(summary).not(),
            Self::Key { key, test } => match summary.keys.get(key) {
                Some(of_key) => test.chance(of_key, summary.payloads),
                None if summary.complete => Chance::Never,
                None => Chance::Maybe,
            },
            Self::Document(DocumentTest::Nothing) => Chance::Always,
            Self::Document(DocumentTest::Exists) => chance(summary.documents, summary.documents, summary.payloads),
            Self::Document(DocumentTest::Contains(_) | DocumentTest::Matches(_)) => {
                chance(summary.documents, 0, summary.payloads)
            }
        }
    }
}

impl Chance {
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::Always => other(),
            Self::Maybe if other() == Self::Never => Self::Never,
            Self::Maybe => Self::Maybe,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Maybe => Self::Maybe,
            Self::Always => Self::Never,
        }
    }
}

/// The chance, given the highest and the lowest number of matches among `of`.
fn chance(most: usize, least: usize, of: usize) -> Chance {
    if most == 0 {
        Chance::Never
    } else if least >= of {
        Chance::Always
    } else {
        Chance::Maybe
    }
}

impl Test {
    fn chance(&self, key: &KeySummary, payloads: usize) -> Chance {
        match self {
            Self::Exists => chance(key.present, key.present, payloads),
            Self::Scalar(scalars) => {
                let (most, least) = scalars.bounds(&key.scalars);
                chance(most, least, payloads)
            }
            // Lists may be empty, so matching all elements does not match every list.
            Self::Element(scalars) => chance(scalars.bounds(&key.elements).0, 0, payloads),
        }
    }
}

impl Scalars {
    /// The highest and the lowest number of these values that it contains.
    fn bounds(&self, types: &TypeSummaries) -> (usize, usize) {
        let strings = types.strings.as_ref().map(|texts| bounds(self.strings.chance(texts), texts.count));
        let i64s = types.i64s.as_ref().map(|numbers| bounds(self.i64s.chance(numbers), numbers.count));
        let f64s = types.f64s.as_ref().map(|numbers| bounds(self.f64s.chance(numbers), numbers.count));
        let bools = types.bools.map(|bools| {
            let falses = if self.bool_holds(false) { bools.falses } else { 0 };
            let trues = if self.bool_holds(true) { bools.trues } else { 0 };
            (falses + trues, falses + trues)
        });
        let all = [strings, i64s, f64s, bools].into_iter().flatten();
        all.fold((0, 0), |(most, least), (more, at_least)| (most + more, least + at_least))
    }
}

fn bounds(chance: Chance, count: usize) -> (usize, usize) {
    match chance {
        Chance::Never => (0, 0),
        Chance::Maybe => (count, 0),
        Chance::Always => (count, count),
    }
}

/// The chance of a value from this list.
fn chance_of_listed<T>(listed: &[T], holds: impl Fn(&T) -> bool) -> Chance {
    let held = listed.iter().filter(|value| holds(value)).count();
    chance(held, held, listed.len())
}

/// The chance, if some value may be contained, or all are.
fn chance_of(some: bool, all: bool) -> Chance {
    chance(usize::from(some), usize::from(all), 1)
}

impl<T: PartialOrd + Copy> Numbers<T> {
    fn chance(&self, numbers: &NumberSummary<T>) -> Chance {
        if let Some(listed) = &numbers.listed {
            return chance_of_listed(listed, |number| self.holds(*number));
        }
        let (min, max) = (numbers.min, numbers.max);
        match self {
            Self::None => Chance::Never,
            Self::Between(low, high) => chance_of(*low <= max && *high >= min, *low <= min && *high >= max),
            Self::Listed(list) => chance_of(list.iter().any(|number| min <= *number && *number <= max), false),
        }
    }
}

impl Strings {
    fn chance(&self, texts: &TextSummary) -> Chance {
        if let Some(listed) = &texts.listed {
            return chance_of_listed(listed, |text| self.holds(text.as_bytes()));
        }
        let (min, max) = (texts.min.as_str(), texts.max.as_str());
        // Whether some text may be greater than this one, or at least as great.
        let some_above = |text: &str| text < max || texts.max_is_cut && text.starts_with(max);
        let some_reach = |text: &str| text == max || some_above(text);
        // Whether every text is less than this one.
        let all_below = |text: &str| max < text && !(texts.max_is_cut && text.starts_with(max));
        match self {
            Self::None => Chance::Never,
            Self::Listed(list) => chance_of(list.iter().any(|text| min <= text.as_str() && some_reach(text)), false),
            Self::Prefix(prefix) => {
                let prefix = prefix.as_str();
                let some = (min <= prefix || min.starts_with(prefix)) && some_reach(prefix);
                chance_of(some, min.starts_with(prefix) && max.starts_with(prefix))
            }
            Self::Beside(side, operand) => {
                let operand = operand.as_str();
                match side {
                    Side::Greater => chance_of(some_above(operand), min > operand),
                    Side::GreaterOrEqual => chance_of(some_reach(operand), min >= operand),
                    Side::Less => chance_of(min < operand, all_below(operand)),
                    Side::LessOrEqual => {
                        chance_of(min <= operand, all_below(operand) || max == operand && !texts.max_is_cut)
                    }
                }
            }
        }
    }
}
