// From the sums over a row's ratings to its factors.

// From the sums over a row's ratings to its equations.
static __device__ __forceinline__ void complete(
    const System& system, real (&sums)[TILE][TILE], real* memory, const Row& row, int ti, int tj)
{
    const bool own_weight = system.row_weight != nullptr;
    const real c = own_weight ? real(system.row_weight[row.row]) : real(1), w0 = system.w0;
    real trace = real(0);
#pragma unroll
    for (int a = 0; a < TILE; ++a) {
        const int i = ti * TILE + a;
#pragma unroll
        for (int b = 0; b < TILE; ++b) {
            const int j = tj * TILE + b;
            real sum = sums[a][b];
            if (own_weight) {
                // The border and the right-hand side have w0 + c, as their column has in the table of weights.
                sum *= j == UNKNOWNS || (BIASED && j == FACTORS) ? w0 + c : c;
            } else if (BIASED && system.weight_sum && i == FACTORS && (j == FACTORS || j == UNKNOWNS)) {
                sum = real(system.weight_sum[2LL * row.row + (j == UNKNOWNS)]);
            }
            if (i < FACTORS && j < FACTORS && system.gram) {
                sum += system.gram[i * FACTORS + j];
            }
            if (i < FACTORS && j == UNKNOWNS && system.pull) {
                sum += system.pull[(long long)row.row * FACTORS + i];
            }
            if (i == j && i < UNKNOWNS) {
                sum += real((i < FACTORS ? system.penalty : system.bias_penalty)[row.row]);
                trace += i < FACTORS ? sum : real(0);
            }
            sums[a][b] = sum;
        }
    }
    if (ti == tj) {
        memory[TRACES + ti] = trace;
    }
}

// The Cholesky factor of a diagonal tile, in place, with the inverses of the diagonal; what is behind the last unknown
// becomes the identity.
static __device__ __forceinline__ void factor_tile(real (&tile)[TILE][TILE], int live, real* flag)
{
#pragma unroll
    for (int r = 0; r < TILE; ++r) {
        if (r < live) {
            const real pivot = tile[r][r];
            if (!(pivot > real(0))) {
                *flag = real(1);
            }
            const real inverse = inverse_root(pivot);
#pragma unroll
            for (int c = r + 1; c < TILE; ++c) {
                tile[r][c] *= inverse;
            }
#pragma unroll
            for (int q = r + 1; q < TILE; ++q) {
#pragma unroll
                for (int c = q; c < TILE; ++c) {
                    tile[q][c] = multiply_add(-tile[r][q], tile[r][c], tile[q][c]);
                }
            }
            tile[r][r] = inverse;
        } else {
#pragma unroll
            for (int c = r; c < TILE; ++c) {
                tile[r][c] = real(c == r);
            }
        }
    }
}

// Divides the columns of a tile row, but for its diagonal tile, by the factor of that tile: Uᵀ x = a.
static __device__ __forceinline__ void substitute(real* panel, real* kept, int width, int lane)
{
    for (int column = TILE + lane; column < width; column += GROUP) {
        const int at = place(column, width);
        real x[TILE];
#pragma unroll
        for (int r = 0; r < TILE; ++r) {
            x[r] = panel[r * width + at];
        }
#pragma unroll
        for (int r = 0; r < TILE; ++r) {
            x[r] *= panel[r * width + place(r, width)];
#pragma unroll
            for (int q = r + 1; q < TILE; ++q) {
                x[q] = multiply_add(-panel[r * width + place(q, width)], x[r], x[q]);
            }
        }
#pragma unroll
        for (int r = 0; r < TILE; ++r) {
            panel[r * width + at] = x[r];
            if (!IN_SHARED) {
                kept[r * width + at] = x[r];
            }
        }
    }
}

// From a row's equations, in registers, to its solution.
//
// Ends with a barrier, after which the memory may be written again.
static __device__ __forceinline__ void solve(
    const System& system, real (&sums)[TILE][TILE], real* memory, real* slot, const Row& row, int lane, int ti, int tj)
{
    real* flag = memory + FLAG;
    if (lane == 0) {
        *flag = real(0);
    }
    if (lane < TILES && row.row >= 0) {
        complete(system, sums, memory, row, ti, tj);
    }
    for (int band = 0; band < PIVOT_BANDS; ++band) {
        const int width = WIDTH - band * TILE;
        // Of two panels in turn, so that one is written while the other may still be read.
        real* panel = memory + (IN_SHARED ? panel_start(band) : band % 2 * TILE * WIDTH);
        real* kept = IN_SHARED ? panel : slot + panel_start(band);
        if (lane < TILES && ti == band) {
            if (tj == band) {
                factor_tile(sums, min(TILE, UNKNOWNS - band * TILE), flag);
            }
#pragma unroll
            for (int r = 0; r < TILE; ++r) {
                store_tile_line(panel + r * width, sums[r], width, tj - band);
                if (!IN_SHARED && tj == band) {
                    store_tile_line(kept + r * width, sums[r], width, 0);
                }
            }
        }
        __syncthreads();
        substitute(panel, kept, width, lane);
        __syncthreads();
        if (lane < TILES && ti > band) {
            add_products<true>(sums, panel, TILE, width, ti - band, tj - band);
        }
    }
    const real* factor = IN_SHARED ? memory : slot;
    real *known = memory + KNOWN, *solution = memory + SOLUTION;
    for (int i = lane; i < PIVOT_BANDS * TILE; i += GROUP) {
        const int band = i / TILE, width = WIDTH - band * TILE;
        const real* line = factor + panel_start(band) + i % TILE * width;
        known[i] = i < UNKNOWNS ? line[place(UNKNOWNS - band * TILE, width)] : real(0);
    }
    __syncthreads();
    // Backwards. Everyone solves the diagonal tile, which saves a barrier, and takes it off the lines above.
    for (int band = PIVOT_BANDS - 1; band >= 0; --band) {
        const int width = WIDTH - band * TILE;
        const real* diagonal = factor + panel_start(band);
        real x[TILE];
#pragma unroll
        for (int r = 0; r < TILE; ++r) {
            x[r] = known[band * TILE + r];
        }
#pragma unroll
        for (int r = TILE - 1; r >= 0; --r) {
            x[r] *= diagonal[r * width + place(r, width)];
#pragma unroll
            for (int q = 0; q < r; ++q) {
                x[q] = multiply_add(-diagonal[q * width + place(r, width)], x[r], x[q]);
            }
        }
        if (lane < TILE) {
            real own = x[0];
#pragma unroll
            for (int r = 1; r < TILE; ++r) {
                own = lane == r ? x[r] : own;
            }
            solution[band * TILE + lane] = own;
        }
        for (int i = lane; i < band * TILE; i += GROUP) {
            const int above = i / TILE, wide = WIDTH - above * TILE;
            real u[TILE];
            load_tile_line(u, factor + panel_start(above) + i % TILE * wide, wide, band - above);
            real sum = known[i];
#pragma unroll
            for (int r = 0; r < TILE; ++r) {
                sum = multiply_add(-u[r], x[r], sum);
            }
            known[i] = sum;
        }
        __syncthreads();
    }
    for (int i = lane; i < UNKNOWNS; i += GROUP) {
        if (!is_finite(solution[i])) {
            *flag = real(1);
        }
    }
    __syncthreads();
    bool failed = *flag != real(0);
    if (!EXACT && row.row >= 0 && row.count < UNKNOWNS) {
        real trace = real(0);
        for (int band = 0; band < BANDS; ++band) {
            trace += memory[TRACES + band];
        }
        const real least = real(system.penalty[row.row]) + (system.floor ? *system.floor : real(0));
        failed = failed || least < real(system.visible) * trace;
    }
    if (row.row >= 0) {
        for (int i = lane; i < UNKNOWNS; i += GROUP) {
            // Of EXACT it is an answer; otherwise it is written over.
            const float x = EXACT && failed ? nanf("") : float(solution[i]);
            if (i < FACTORS) {
                system.factors[(long long)row.row * FACTORS + i] = x;
            } else {
                system.bias[row.row] = x;
            }
        }
        if (lane == 0) {
            system.state[row.row] = failed ? (EXACT ? 2 : 1) : 0;
        }
    }
    __syncthreads();
}

#define SHARED_MEMORY extern __shared__ float4 shared[]; real* const all_memory = reinterpret_cast<real*>(shared)

#define SYSTEM_PARAMETERS \
    const COLUMN* __restrict__ columns, const float* __restrict__ values, const float* __restrict__ table, \
    const float* __restrict__ row_weight, const double* __restrict__ weight_sum, const float* __restrict__ gram, \
    const float* __restrict__ pull, const double* __restrict__ penalty, \
    const double* __restrict__ bias_penalty, const float* __restrict__ floor, \
    const float* __restrict__ fixed_factors, const float* __restrict__ fixed_bias, \
    const float* __restrict__ column_weight, real* __restrict__ slots, float* __restrict__ factors, \
    float* __restrict__ bias, int* __restrict__ state, double mean, float w0, float visible
#define SYSTEM \
    { columns, values, table, row_weight, weight_sum, gram, pull, penalty, bias_penalty, floor, fixed_factors, fixed_bias, \
      column_weight, slots, factors, bias, state, mean, w0, visible }
