//! Numbers through PostgreSQL's numeric patterns.

/// One place of a pattern, left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// `9` or `0` before the point.
    Whole {
        zero: bool,
    },
    /// `9` or `0` behind the point.
    Part {
        zero: bool,
    },
    Point,
    Comma,
    Text(char),
    /// `PL`
    Plus,
    /// `SG`
    Sign,
    /// `MI`
    Minus,
    /// `L`, which is nothing where no currency is set.
    Currency,
}

/// Where the sign goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignPlace {
    /// Before the first digit, a blank for a positive number.
    Leading,
    /// `S` in front: before the first digit, `+` for a positive number.
    SignedLeading,
    /// `S` behind the last digit.
    SignedTrailing,
    /// `PR`: `<1>`.
    Brackets,
    /// Written by a place of its own.
    Own,
}

/// A numeric pattern.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    places: Vec<Place>,
    sign: SignPlace,
    /// `FM`: no blanks, no trailing zeros of optional digits.
    bare: bool,
    ordinal: Option<bool>,
}

impl Picture {
    /// Reads a pattern.
    pub(super) fn read(pattern: &str) -> Result<Self, String> {
        let mut picture = Self {
            places: Vec::new(),
            sign: SignPlace::Leading,
            bare: false,
            ordinal: None,
        };
        let mut rest = pattern;
        let mut behind_point = false;
        let mut zero_seen = false;
        while let Some(letter) = rest.chars().next() {
            let two = rest.get(..2).unwrap_or_default().to_ascii_uppercase();
            let upper = letter.to_ascii_uppercase();
            let mut taken = letter.len_utf8();
            match two.as_str() {
                "FM" => (picture.bare, taken) = (true, 2),
                "PL" => {
                    picture.places.push(Place::Plus);
                    (picture.sign, taken) = (SignPlace::Own, 2);
                }
                "SG" => {
                    picture.places.push(Place::Sign);
                    (picture.sign, taken) = (SignPlace::Own, 2);
                }
                "MI" => {
                    picture.places.push(Place::Minus);
                    (picture.sign, taken) = (SignPlace::Own, 2);
                }
                "PR" => (picture.sign, taken) = (SignPlace::Brackets, 2),
                "TH" => (picture.ordinal, taken) = (Some(letter == 'T'), 2),
                "RN" | "EE" => return Err(format!("'{two}' is not supported")),
                _ => match upper {
                    '9' | '0' => {
                        zero_seen |= upper == '0';
                        picture.places.push(if behind_point {
                            Place::Part { zero: upper == '0' }
                        } else {
                            Place::Whole { zero: zero_seen }
                        });
                    }
                    '.' | 'D' if behind_point => return Err("it has two decimal points".to_owned()),
                    '.' | 'D' => {
                        behind_point = true;
                        picture.places.push(Place::Point);
                    }
                    ',' | 'G' if behind_point => {
                        return Err("a group mark stands behind the point".to_owned());
                    }
                    ',' | 'G' => picture.places.push(Place::Comma),
                    'S' if picture.has_digits() => picture.sign = SignPlace::SignedTrailing,
                    'S' => picture.sign = SignPlace::SignedLeading,
                    'L' => picture.places.push(Place::Currency),
                    'V' => return Err("'V' is not supported".to_owned()),
                    '"' => {
                        let (text, after) = rest[1..]
                            .split_once('"')
                            .ok_or("a quotation mark is not closed")?;
                        picture.places.extend(text.chars().map(Place::Text));
                        rest = after;
                        continue;
                    }
                    _ => picture.places.push(Place::Text(letter)),
                },
            }
            rest = &rest[taken..];
        }
        Ok(picture)
    }

    fn has_digits(&self) -> bool {
        let digit = |place: &Place| matches!(place, Place::Whole { .. } | Place::Part { .. });
        self.places.iter().any(digit)
    }

    /// The text of a decimal number.
    pub(super) fn write(&self, value: &str) -> String {
        let count = |wanted: fn(&Place) -> bool| self.places.iter().filter(|place| wanted(place)).count();
        let whole_places = count(|place| matches!(place, Place::Whole { .. }));
        let part_places = count(|place| matches!(place, Place::Part { .. }));
        let (negative, whole, part) = match rounded(value, part_places) {
            Some((negative, whole, part)) if whole.len() <= whole_places => (negative, whole, part),
            // Too long for the picture, as PostgreSQL shows it.
            _ => (
                value.starts_with('-'),
                "#".repeat(whole_places),
                "#".repeat(part_places),
            ),
        };
        let mut shown_part = part.len();
        if self.bare {
            let zeros: Vec<bool> = self
                .places
                .iter()
                .filter_map(|place| match place {
                    Place::Part { zero } => Some(*zero),
                    _ => None,
                })
                .collect();
            while shown_part > 0
                && part.as_bytes()[shown_part - 1] == b'0'
                && !zeros[shown_part - 1..].contains(&true)
            {
                shown_part -= 1;
            }
        }
        // A whole part of 0 shows when nothing is behind the point: `0`, and `FM9.99` gives `0.`.
        let whole =
            if whole.is_empty() && whole_places > 0 && (part_places == 0 || (self.bare && shown_part == 0)) {
                "0".to_owned()
            } else {
                whole
            };
        let first_digit = whole_places - whole.len();
        let sign = match (self.sign, negative) {
            (SignPlace::Leading, false) if !self.bare => " ",
            (SignPlace::Leading | SignPlace::SignedLeading, true) => "-",
            (SignPlace::SignedLeading, false) => "+",
            (SignPlace::Brackets, true) => "<",
            (SignPlace::Brackets, false) if !self.bare => " ",
            _ => "",
        };
        let mut text = String::new();
        let (mut at, mut behind, mut begun) = (0, 0, false);
        for place in &self.places {
            match *place {
                Place::Whole { zero } => {
                    let digit = (at >= first_digit).then(|| whole.as_bytes()[at - first_digit] as char);
                    let digit = digit.or(zero.then_some('0'));
                    at += 1;
                    match digit {
                        Some(digit) => {
                            begin(&mut text, &mut begun, sign);
                            text.push(digit);
                        }
                        None if !self.bare => text.push(' '),
                        None => {}
                    }
                }
                Place::Point => {
                    begin(&mut text, &mut begun, sign);
                    text.push('.');
                }
                Place::Part { .. } => {
                    if behind < shown_part {
                        text.push(part.as_bytes()[behind] as char);
                    }
                    behind += 1;
                }
                Place::Comma if begun => text.push(','),
                Place::Comma if !self.bare => text.push(' '),
                Place::Comma => {}
                Place::Text(letter) => text.push(letter),
                Place::Plus if !negative => text.push('+'),
                Place::Minus if negative => text.push('-'),
                Place::Plus | Place::Minus if !self.bare => text.push(' '),
                Place::Plus | Place::Minus => {}
                Place::Sign => text.push(if negative { '-' } else { '+' }),
                Place::Currency if !self.bare => text.push(' '),
                Place::Currency => {}
            }
        }
        match (self.sign, negative) {
            (SignPlace::SignedTrailing, true) => text.push('-'),
            (SignPlace::SignedTrailing, false) => text.push('+'),
            (SignPlace::Brackets, true) => text.push('>'),
            (SignPlace::Brackets, false) if !self.bare => text.push(' '),
            _ => {}
        }
        if let Some(upper) = self.ordinal
            && !negative
            && part_places == 0
        {
            let ending = super::moment::ending(&whole);
            text.push_str(&if upper {
                ending.to_uppercase()
            } else {
                ending.to_owned()
            });
        }
        text
    }
}

/// The sign stands right before the first digit.
fn begin(text: &mut String, begun: &mut bool, sign: &str) {
    if !*begun {
        *begun = true;
        text.push_str(sign);
    }
}

/// Sign, digits before and digits behind the point, rounded half away from zero; a whole part of 0 has no digit.
fn rounded(value: &str, places: usize) -> Option<(bool, String, String)> {
    let (negative, value) = value
        .strip_prefix('-')
        .map_or((false, value), |rest| (true, rest));
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if !whole
        .bytes()
        .chain(part.bytes())
        .all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let mut digits: Vec<u8> = whole.bytes().chain(part.bytes()).collect();
    let keep = whole.len() + places;
    let up = digits.get(keep).is_some_and(|digit| *digit >= b'5');
    digits.resize(keep, b'0');
    if up {
        let mut place = keep;
        loop {
            if place == 0 {
                digits.insert(0, b'1');
                break;
            }
            place -= 1;
            if digits[place] < b'9' {
                digits[place] += 1;
                break;
            }
            digits[place] = b'0';
        }
    }
    let split = digits.len() - places;
    let text = |digits: &[u8]| String::from_utf8_lossy(digits).into_owned();
    let whole = text(&digits[..split]).trim_start_matches('0').to_owned();
    let part = text(&digits[split..]);
    // -0 is written without its sign.
    let zero = whole.is_empty() && part.bytes().all(|digit| digit == b'0');
    Some((negative && !zero, whole, part))
}
