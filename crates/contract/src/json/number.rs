//! JSON numbers, compared as what they are: decimal numbers of any size. Nothing is rounded, `1e400` is less than
//! `1e401`, and `100`, `1e2` and `100.0` are the same.

use std::cmp::Ordering;
use std::num::NonZeroU64;

/// Numbers with a longer text are not compared at all: one of a mebibyte would cost every filter that asks for it.
/// Every exact decimal form of a 64-bit float has less.
pub const MAX_COMPARED_TEXT: usize = 1_100;
/// Exponents beyond this are taken for this. What is within it is compared with anything exactly.
const MAX_EXPONENT: i64 = 1 << 60;

/// So that a product of two rests fits into 128 bits.
const MAX_DIVISOR_DIGITS: usize = 18;

/// What another number may be a multiple of: digits × 10^exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divisor {
    digits: NonZeroU64,
    exponent: i64,
}

/// 10^exponent, as much of it as is left by whole numbers of the modulus.
fn power_of_ten(mut exponent: u64, modulus: u128) -> u128 {
    let (mut result, mut base) = (1 % modulus, 10 % modulus);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent /= 2;
    }
    result
}

/// A number as 0.d₁d₂d₃… × 10^scale, d₁ not 0; zero has no digits and scale 0.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    is_negative: bool,
    scale: i64,
    /// The digits before and after the point, without the zeros at both ends of the two together.
    whole: &'a [u8],
    fraction: &'a [u8],
}

impl<'a> Decimal<'a> {
    /// `None` for what is no JSON number, or is longer than [`MAX_COMPARED_TEXT`].
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        #[cfg(test)]
        READINGS.set(READINGS.get() + 1);
        if text.len() > MAX_COMPARED_TEXT {
            return None;
        }
        let (is_negative, magnitude) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (magnitude, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let significant = whole.trim_start_matches('0');
        let (whole, mut fraction) = (significant, fraction.trim_end_matches('0'));
        let mut scale = i64::try_from(whole.len()).ok()?;
        if whole.is_empty() {
            let zeros = fraction.len() - fraction.trim_start_matches('0').len();
            fraction = fraction.trim_start_matches('0');
            scale = -i64::try_from(zeros).ok()?;
        }
        if whole.is_empty() && fraction.is_empty() {
            return Some(Decimal { is_negative: false, scale: 0, whole: &[], fraction: &[] });
        }
        let whole = if fraction.is_empty() { whole.trim_end_matches('0') } else { whole };
        Some(Decimal {
            is_negative,
            scale: scale + exponent,
            whole: whole.as_bytes(),
            fraction: fraction.as_bytes(),
        })
    }

    /// Whether the exponent is small enough that every comparison with this number is exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.scale.unsigned_abs() < MAX_EXPONENT.unsigned_abs() / 2
    }

    /// `1e2` and `100.0` are whole numbers, too.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.exponent() >= 0
    }

    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.sign() > 0
    }

    /// The same number as digits × 10^exponent; `None` for more digits than 18.
    #[must_use]
    pub fn as_divisor(&self) -> Option<Divisor> {
        if self.length() > MAX_DIVISOR_DIGITS {
            return None;
        }
        let digits = self.digits().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        Some(Divisor { digits: NonZeroU64::new(digits)?, exponent: self.exponent() })
    }

    /// Whether it is the divisor a whole number of times.
    #[must_use]
    pub fn is_multiple_of(&self, divisor: Divisor) -> bool {
        let modulus = u128::from(divisor.digits.get());
        let rest = self.digits().fold(0_u128, |rest, digit| (rest * 10 + u128::from(digit - b'0')) % modulus);
        // The last digit is not 0, so nothing can be taken from the exponent.
        match u64::try_from(self.exponent() - divisor.exponent) {
            Ok(shift) => (rest * power_of_ten(shift, modulus)).is_multiple_of(modulus),
            Err(_) => self.length() == 0,
        }
    }

    /// Appends what all spellings of this number have in common, and no other number has.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        out.push(if self.is_negative { b'-' } else { b'+' });
        out.extend(self.digits());
        out.push(b'e');
        out.extend_from_slice(self.scale.to_string().as_bytes());
    }

    /// Of ten, with the digits as a whole number before it.
    fn exponent(&self) -> i64 {
        self.scale.saturating_sub(i64::try_from(self.length()).unwrap_or(i64::MAX))
    }

    fn digits(&self) -> impl Iterator<Item = &'a u8> {
        self.whole.iter().chain(self.fraction)
    }

    fn length(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.length(), self.is_negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }

    /// No digits end with a zero, so of two that begin alike the longer are more. No more is looked at than the shorter
    /// ones have.
    fn compare_magnitudes(&self, other: &Decimal<'_>) -> Ordering {
        self.scale.cmp(&other.scale).then_with(|| self.digits().cmp(other.digits()))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal<'_> {}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sign().cmp(&other.sign()).then_with(|| match self.sign() {
            0 => Ordering::Equal,
            -1 => other.compare_magnitudes(self),
            _ => self.compare_magnitudes(other),
        })
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let larger = |sum: i64, digit: u8| (sum * 10 + i64::from(digit - b'0')).min(MAX_EXPONENT);
    let size = digits
        .bytes()
        .fold(0, |sum, digit| if sum > MAX_EXPONENT / 10 { MAX_EXPONENT } else { larger(sum, digit) });
    Some(if is_negative { -size } else { size })
}

#[cfg(test)]
thread_local! {
    /// How many texts were read as numbers by this test.
    pub(crate) static READINGS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal<'_> {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn numbers_are_in_order_to_the_last_digit() {
        let rising = [
            "-1e99999999999999999999",
            "-1e400",
            "-12345678901234567890124",
            "-12345678901234567890123",
            "-0.1",
            "-0.01",
            "-1e-400",
            "0",
            "1e-99999999999999999999",
            "1e-400",
            "0.1",
            "0.10000000000000000001",
            "0.2",
            "9",
            "10",
            "9007199254740992",
            "9007199254740993",
            "12345678901234567890123",
            "12345678901234567890123.5",
            "12345678901234567890124",
            "1e400",
            "1.1e400",
            "1e401",
            "1e99999999999999999999",
        ];
        for (index, one) in rising.iter().enumerate() {
            for (other_index, other) in rising.iter().enumerate() {
                assert_eq!(decimal(one).cmp(&decimal(other)), index.cmp(&other_index), "{one} {other}");
            }
        }
    }

    #[test]
    fn one_number_has_many_spellings() {
        for same in [
            vec!["0", "-0", "0.0", "0e5", "-0.00E-7"],
            vec!["100", "1e2", "100.0", "1E+2", "0.1e3", "10000e-2", "100.000e0"],
            vec!["0.012", "12e-3", "1.2E-2", "0.0120"],
            vec!["-50.5", "-505e-1", "-0.505e2"],
        ] {
            for one in &same {
                for other in &same {
                    assert_eq!(decimal(one), decimal(other), "{one} {other}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_or_too_long_is_not_compared() {
        for text in ["", "-", "a", "1.2.3", "1e", "1e+", "--1", "+1", ".5", "1e5.0", "0x10"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        assert!(Decimal::parse(&"1".repeat(MAX_COMPARED_TEXT)).is_some());
        assert!(Decimal::parse(&"1".repeat(MAX_COMPARED_TEXT + 1)).is_none());
    }

    #[test]
    fn a_number_tells_what_it_is_a_multiple_of() {
        for (number, divisor, is_multiple) in [
            ("10", "5", true),
            ("11", "5", false),
            ("0", "7", true),
            ("0.3", "0.1", true),
            ("0.35", "0.1", false),
            ("-7.5", "2.5", true),
            ("1e400", "3", false),
            ("1e400", "4", true),
            ("3e400", "3", true),
            ("12345678901234567890", "10", true),
            ("12345678901234567891", "10", false),
            ("1e-400", "1e-399", false),
            ("5e-399", "1e-399", true),
            ("100", "999999999999999999", false),
        ] {
            let divided_by = decimal(divisor).as_divisor().expect("few digits");
            assert_eq!(decimal(number).is_multiple_of(divided_by), is_multiple, "{number} {divisor}");
        }
        assert_eq!(decimal("1234567890123456789").as_divisor(), None);
        assert_eq!(decimal("0").as_divisor(), None);
        for (number, is_whole) in
            [("1", true), ("1.0", true), ("1e2", true), ("100.5", false), ("5e-1", false), ("0.0", true)]
        {
            assert_eq!(decimal(number).is_whole(), is_whole, "{number}");
        }
    }

    proptest! {
        #[test]
        fn multiples_are_those_of_whole_numbers(number: i64, divisor in 1_u64..1_000_000, places in 0_usize..20) {
            let texts = (format!("{number}e-{places}"), format!("{divisor}e-{places}"));
            let divided_by = decimal(&texts.1).as_divisor().expect("few digits");
            let expected = i128::from(number) % i128::from(divisor) == 0;
            prop_assert_eq!(decimal(&texts.0).is_multiple_of(divided_by), expected);
        }

        #[test]
        fn one_number_has_one_canonical_form(one in -500_i64..500, other in -500_i64..500, zeros in 0_usize..5) {
            let form = |text: &str| {
                let mut out = Vec::new();
                decimal(text).write_canonical(&mut out);
                out
            };
            let padded = format!("{one}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(form(&one.to_string()), form(&padded));
            prop_assert_eq!(form(&one.to_string()) == form(&other.to_string()), one == other);
        }

        #[test]
        fn whole_numbers_compare_as_whole_numbers(one: i128, other: i128, near in -3_i128..3) {
            let neighbour = one.saturating_add(near);
            for (left, right) in [(one, other), (one, neighbour)] {
                let texts = (left.to_string(), right.to_string());
                prop_assert_eq!(decimal(&texts.0).cmp(&decimal(&texts.1)), left.cmp(&right));
            }
        }

        /// Moving the point and the exponent against each other changes nothing.
        #[test]
        fn the_point_may_move(number in 0_u64.., places in 0_usize..40, other in 0_u64..) {
            let shifted = format!("{number}e-{places}");
            let padded = format!("{number:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            let pointed = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
            prop_assert_eq!(decimal(&shifted), decimal(&pointed));
            let other_text = format!("{other}e-{places}");
            prop_assert_eq!(decimal(&shifted).cmp(&decimal(&other_text)), number.cmp(&other));
        }
    }
}
