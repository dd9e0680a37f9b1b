//! A bill: lines with quantities, and the rest to pay.

use super::prices::{Item, Prices};

/// The monthly quantity of one item, with its purpose.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Line {
    /// The service: `S3`.
    pub service: &'static str,
    /// The purpose: `appends: PUT`.
    pub what: String,
    /// The billed item.
    pub item: Item,
    /// The quantity.
    pub quantity: f64,
    /// Dollars at the list price.
    pub list: f64,
}

/// A month's bill.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Bill {
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Bill {
    /// Adds a line, unless the quantity is zero.
    pub(super) fn add(
        &mut self,
        prices: &Prices,
        service: &'static str,
        what: impl Into<String>,
        item: Item,
        quantity: f64,
    ) {
        if quantity > 0.0 {
            self.lines.push(Line { service, what: what.into(), item, quantity, list: quantity * prices.of(item) });
        }
    }

    /// The sum at list prices.
    pub fn list(&self) -> f64 {
        self.lines.iter().map(|line| line.list).sum()
    }

    /// The sum to pay after the free monthly quantities, if nothing else uses them up.
    pub fn to_pay(&self) -> f64 {
        self.services().iter().map(|service| self.to_pay_for(service)).sum()
    }

    /// The services on it, in order.
    pub fn services(&self) -> Vec<&'static str> {
        let mut services = Vec::new();
        for line in &self.lines {
            if !services.contains(&line.service) {
                services.push(line.service);
            }
        }
        services
    }

    /// The list price of a service.
    pub fn list_for(&self, service: &str) -> f64 {
        self.lines.iter().filter(|line| line.service == service).map(|line| line.list).sum()
    }

    /// The sum to pay for a service.
    pub fn to_pay_for(&self, service: &str) -> f64 {
        let mut left = 0.0;
        for item in Item::all() {
            let lines = self.lines.iter().filter(|line| line.service == service && line.item == item);
            let (quantity, list) =
                lines.fold((0.0, 0.0), |(quantity, list), line| (quantity + line.quantity, list + line.list));
            if quantity > 0.0 {
                left += list * (quantity - item.free()).max(0.0) / quantity;
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_tier_is_deducted_once() {
        let mut bill = Bill::default();
        let prices = Prices::default();
        bill.add(&prices, "Lambda", "a", Item::LambdaRequest, 0.75e6);
        bill.add(&prices, "Lambda", "b", Item::LambdaRequest, 0.75e6);
        bill.add(&prices, "Lambda", "nothing", Item::LambdaArm, 0.0);
        assert_eq!(bill.lines.len(), 2);
        assert!((bill.list() - 0.30).abs() < 1e-9);
        assert!((bill.to_pay() - 0.10).abs() < 1e-9);
    }
}
