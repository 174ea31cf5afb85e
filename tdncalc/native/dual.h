// Numbers with their derivative along one direction.
#pragma once

#include "lanes.h"

struct Dual {
    V x, d;
};

INLINE Dual operator+(Dual a, Dual b) { return {a.x + b.x, a.d + b.d}; }
INLINE Dual operator+(Dual a, float b) { return {a.x + b, a.d}; }
INLINE Dual operator*(Dual a, Dual b) { return {a.x * b.x, a.x * b.d + a.d * b.x}; }
INLINE Dual operator*(float a, Dual b) { return {a * b.x, a * b.d}; }
INLINE Dual operator*(Dual a, V b) { return {a.x * b, a.d * b}; }
INLINE Dual& operator+=(Dual& a, Dual b) { return a = a + b; }
