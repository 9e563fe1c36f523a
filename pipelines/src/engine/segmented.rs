//! A growing array without the pause of growing: segments are never moved.

const BITS: usize = 13;
const SEGMENT: usize = 1 << BITS;
const MASK: usize = SEGMENT - 1;

/// Like `Vec<T>` for small copyable values, but a push costs the same at any length.
#[derive(Debug)]
pub(super) struct Segmented<T> {
    segments: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Segmented<T> {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Copy> Segmented<T> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, value: T) {
        if self.len & MASK == 0 {
            // The first segment grows by doubling so that a small table stays small.
            let room = if self.len == 0 { 16 } else { SEGMENT };
            self.segments.push(Vec::with_capacity(room));
        }
        self.segments[self.len >> BITS].push(value);
        self.len += 1;
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> T {
        let index = index as usize;
        self.segments[index >> BITS][index & MASK]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        &mut self.segments[index >> BITS][index & MASK]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.segments.iter().flatten().copied()
    }

    pub(super) fn bytes(&self) -> usize {
        self.segments.iter().map(Vec::capacity).sum::<usize>() * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_pushed_across_segments() {
        let mut numbers = Segmented::default();
        for number in 0..20_000_u32 {
            numbers.push(number);
        }
        *numbers.at_mut(9_000) = 7;
        assert_eq!(
            (numbers.get(8_191), numbers.get(9_000), numbers.get(19_999)),
            (8_191, 7, 19_999)
        );
        assert_eq!(numbers.iter().count(), numbers.len());
    }
}
