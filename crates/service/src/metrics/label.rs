//! Metrics by label, where a label is an enum: a series is found by index, without hashing, and is there from the start.

use std::marker::PhantomData;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, MetricsError, histogram_options, options};

/// An enum whose values are the values of one label. Made by `label_enum!`.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;
    fn index(self) -> usize;
}

macro_rules! label_enum {
    ($(#[$doc:meta])* $name:ident as $label:literal { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_doc])* $value,)+ }

        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$($name::$value,)+];

            fn as_str(self) -> &'static str {
                match self { $($name::$value => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use label_enum;

/// Counters by one label.
#[derive(Clone, Debug)]
pub struct CounterTable<A> {
    series: Vec<IntCounter>,
    label: PhantomData<A>,
}

impl<A: Label> CounterTable<A> {
    pub(super) fn register(metrics: &Metrics, name: &str, help: &str) -> Result<Self, MetricsError> {
        let family = metrics.register(IntCounterVec::new(options(name, help), &[A::NAME])?)?;
        let series = A::ALL.iter().map(|a| family.with_label_values(&[a.as_str()])).collect();
        Ok(CounterTable { series, label: PhantomData })
    }

    #[must_use]
    pub fn at(&self, a: A) -> &IntCounter {
        &self.series[a.index()]
    }
}

/// Counters by two labels, and any that follow from these two.
#[derive(Clone, Debug)]
pub struct CounterGrid<A, B> {
    series: Vec<IntCounter>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label> CounterGrid<A, B> {
    pub(super) fn register(metrics: &Metrics, name: &str, help: &str) -> Result<Self, MetricsError> {
        let family = metrics.register(IntCounterVec::new(options(name, help), &[A::NAME, B::NAME])?)?;
        Ok(Self::of(|a, b| family.with_label_values(&[a.as_str(), b.as_str()])))
    }

    pub(super) fn of(series_of: impl Fn(A, B) -> IntCounter) -> Self {
        let pairs = A::ALL.iter().flat_map(|a| B::ALL.iter().map(|b| (*a, *b)));
        CounterGrid { series: pairs.map(|(a, b)| series_of(a, b)).collect(), labels: PhantomData }
    }

    #[must_use]
    pub fn at(&self, a: A, b: B) -> &IntCounter {
        &self.series[a.index() * B::ALL.len() + b.index()]
    }
}

/// Histograms by one label.
#[derive(Clone, Debug)]
pub struct HistogramTable<A> {
    series: Vec<Histogram>,
    label: PhantomData<A>,
}

impl<A: Label> HistogramTable<A> {
    pub(super) fn register(
        metrics: &Metrics,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Self, MetricsError> {
        let family = HistogramVec::new(histogram_options(name, help, buckets), &[A::NAME])?;
        let family = metrics.register(family)?;
        let series = A::ALL.iter().map(|a| family.with_label_values(&[a.as_str()])).collect();
        Ok(HistogramTable { series, label: PhantomData })
    }

    #[must_use]
    pub fn at(&self, a: A) -> &Histogram {
        &self.series[a.index()]
    }
}

/// Gauges of whole numbers by one label.
#[derive(Clone, Debug)]
pub struct GaugeTable<A> {
    series: Vec<IntGauge>,
    label: PhantomData<A>,
}

impl<A: Label> GaugeTable<A> {
    pub(super) fn register(metrics: &Metrics, name: &str, help: &str) -> Result<Self, MetricsError> {
        let family = metrics.register(IntGaugeVec::new(options(name, help), &[A::NAME])?)?;
        let series = A::ALL.iter().map(|a| family.with_label_values(&[a.as_str()])).collect();
        Ok(GaugeTable { series, label: PhantomData })
    }

    #[must_use]
    pub fn at(&self, a: A) -> &IntGauge {
        &self.series[a.index()]
    }
}
