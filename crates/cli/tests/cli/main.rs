//! Whole commands against a scripted server: what is printed where, and the exit code.

#[cfg(test)]
mod deploys;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod gates;
#[cfg(test)]
mod removing;
#[cfg(test)]
mod shows;
#[cfg(test)]
mod steering;
#[cfg(test)]
mod strategies;
