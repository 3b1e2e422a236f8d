//! What one client writes: drawn from its seed, over services that only it writes to.

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    cli::{Answer, Muster},
    history::{Event, Recorder},
    model::{Refusal, Write},
};

/// Above this many services a client removes one before it makes another: a run stays small however long it is.
const SERVICES_MAX: usize = 12;

#[derive(Debug)]
pub(crate) struct Client {
    number: u32,
    rng: StdRng,
    /// Made and not removed, as far as this client knows.
    services: Vec<String>,
    gone: Vec<String>,
    made: u32,
    values: u32,
}

impl Client {
    pub(crate) fn new(number: u32, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed ^ u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { number, rng, services: Vec::new(), gone: Vec::new(), made: 0, values: 0 }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// One write through one of several doors, from the note that it is made to the note of its answer.
    pub(crate) async fn write(&mut self, doors: &[Muster], history: &Recorder) -> anyhow::Result<()> {
        let muster = &doors[self.rng.random_range(0..doors.len())];
        let (service, write) = self.draw();
        let call = history.invoke(&service, &write)?;
        let answer = muster.write(&service, &write).await?;
        self.learn(service, &write, &answer);
        history.record(&match answer {
            Answer::Done(_) => Event::Ok { call },
            Answer::Refused(refusal, text) => Event::Refused { call, refusal, text },
            Answer::Unknown(text) => Event::Unknown { call, text },
        })
    }

    fn draw(&mut self) -> (String, Write) {
        let dice = self.rng.random_range(0..100);
        let full = self.services.len() >= SERVICES_MAX;
        match self.pick(dice) {
            Some(service) if full || (80..95).contains(&dice) => (service, Write::Remove),
            Some(service) if dice < 40 => (service, self.set_env()),
            // Wrong on purpose: what is refused must stay without effect.
            Some(service) if dice == 98 => (service, Write::Create),
            Some(service) if dice == 99 => (service, self.set_env()),
            Some(_) | None => {
                self.made += 1;
                (format!("w{}-{}", self.number, self.made), Write::Create)
            }
        }
    }

    /// Of the services that are gone for the last number of the dice, else of those that are there.
    fn pick(&mut self, dice: u32) -> Option<String> {
        let from = if dice == 99 { &self.gone } else { &self.services };
        (!from.is_empty()).then(|| from[self.rng.random_range(0..from.len())].clone())
    }

    /// Never the same value twice, so that each update can be told from every other.
    fn set_env(&mut self) -> Write {
        self.values += 1;
        let key = format!("K{}", self.rng.random_range(0..4));
        Write::SetEnv { key, value: self.values.to_string() }
    }

    /// A service whose fate is unknown is written to again, which brings it to light.
    fn learn(&mut self, service: String, write: &Write, answer: &Answer) {
        match (write, answer) {
            (Write::Create, Answer::Done(_) | Answer::Unknown(_)) => self.services.push(service),
            (Write::Remove, Answer::Done(_)) => {
                self.services.retain(|known| *known != service);
                self.gone.push(service);
            }
            (Write::SetEnv { .. } | Write::Remove, Answer::Refused(Refusal::Missing, _)) => {
                self.services.retain(|known| *known != service);
            }
            (Write::Create, Answer::Refused(..))
            | (Write::SetEnv { .. }, Answer::Done(_) | Answer::Refused(..) | Answer::Unknown(_))
            | (Write::Remove, Answer::Refused(..) | Answer::Unknown(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn drawn(number: u32, seed: u64) -> Vec<(String, Write)> {
        let mut client = Client::new(number, seed);
        (0..500)
            .map(|_| {
                let (service, write) = client.draw();
                client.learn(service.clone(), &write, &Answer::Done(String::new()));
                (service, write)
            })
            .collect()
    }

    #[test]
    fn a_seed_gives_the_same_writes_and_another_seed_others() {
        assert_eq!(drawn(1, 7), drawn(1, 7));
        assert_ne!(drawn(1, 7), drawn(1, 8));
    }

    #[test]
    fn no_two_clients_write_to_one_service() {
        let names = |number| drawn(number, 7).into_iter().map(|(service, _)| service).collect::<BTreeSet<_>>();
        assert!(names(1).is_disjoint(&names(2)));
    }

    #[test]
    fn every_kind_of_write_comes_up() {
        let drawn = drawn(1, 7);
        let count = |kind: fn(&Write) -> bool| drawn.iter().filter(|(_, write)| kind(write)).count();
        assert!(count(|write| matches!(write, Write::Create)) > 50);
        assert!(count(|write| matches!(write, Write::SetEnv { .. })) > 50);
        assert!(count(|write| matches!(write, Write::Remove)) > 50);
    }
}
