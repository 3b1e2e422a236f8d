//! Shows how a number of things come along, one like the other: a bar and a line for each on a terminal, elsewhere a line
//! for each change.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out::{Out, Screen};

/// More lines than this scroll the bar off the screen; the rest is counted in it.
const LINES_MAX: usize = 10;

/// How far they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub done: usize,
    pub of: usize,
    /// Both in words.
    pub overall: String,
    /// What is to be said of each that is not done, by its name.
    pub each: BTreeMap<String, Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It comes along.
    Underway(String),
    /// It waits for something, and for what.
    Waits(String),
}

impl Word {
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Word::Underway(text) | Word::Waits(text) => text,
        }
    }
}

#[derive(Debug)]
pub enum Tally {
    Lines { overall: String, waits: BTreeMap<String, String> },
    Bars(Bars),
}

#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    each: BTreeMap<String, ProgressBar>,
}

impl Tally {
    #[must_use]
    pub fn on(screen: Screen) -> Self {
        match screen {
            Screen::Lines => Tally::Lines { overall: String::new(), waits: BTreeMap::new() },
            Screen::Terminal => Tally::Bars(Bars::new()),
        }
    }

    pub fn show(&mut self, standing: &Standing, out: &mut Out) {
        match self {
            Tally::Lines { overall, waits } => {
                for (name, word) in &standing.each {
                    let Word::Waits(text) = word else { continue };
                    if waits.get(name) != Some(text) {
                        out.note(format_args!("{name}: {text}"));
                        waits.insert(name.clone(), text.clone());
                    }
                }
                if *overall != standing.overall {
                    out.note(&standing.overall);
                    overall.clone_from(&standing.overall);
                }
            }
            Tally::Bars(bars) => bars.show(standing),
        }
    }

    /// Leaves the bar as it is, so that what follows comes below it.
    pub fn end(&mut self) {
        match self {
            Tally::Lines { .. } => {}
            Tally::Bars(bars) => {
                bars.each.values().for_each(ProgressBar::abandon);
                bars.overall.abandon();
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is constant").progress_chars("=> ")
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall = all.add(ProgressBar::new(1).with_style(style("[{bar:30}] {wide_msg}")));
        Self { all, overall, each: BTreeMap::new() }
    }

    fn show(&mut self, standing: &Standing) {
        self.overall.set_length(standing.of as u64);
        self.overall.set_position(standing.done as u64);
        self.overall.set_message(standing.overall.clone());
        let shown: BTreeMap<&String, &Word> = standing.each.iter().take(LINES_MAX).collect();
        self.each.retain(|name, bar| {
            let stays = shown.contains_key(name);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (name, word) in shown {
            let all = &self.all;
            let bar = self.each.entry(name.clone()).or_insert_with(|| {
                let bar = ProgressBar::new(1).with_style(style("  {prefix}: {wide_msg}"));
                all.add(bar.with_prefix(name.clone()))
            });
            bar.set_message(word.text().to_owned());
        }
    }
}
