// What a half-step begins with: the fixed side as rows add it up, and sums of weights; and sums over what rows rated.

// The table of the fixed side, a line a column: √c z, the offset μ + b of a rating, and its scale (w0 + c) / √c.
//
// A rating's weighted residual is scale · (value − offset), so that no array of weights has to be made for the
// ratings. The column of the bias is the scale, too: then the product of the lines has (w0 + c) y there, as the
// matrix wants it, and only the bias's own two sums, where it meets itself and the residual, come from elsewhere
// (sum_weights) if w0 is not 0. Without `weight` c is the row's own, and is put in when the sums are there.
extern "C" __global__ void __launch_bounds__(256) make_table(
    long long n_columns, const float* __restrict__ factors, const float* __restrict__ bias,
    const float* __restrict__ weight, float mean, float w0, float* __restrict__ table)
{
    const long long size = n_columns * STRIDE, step = (long long)gridDim.x * blockDim.x;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < size; at += step) {
        const long long column = at / STRIDE;
        const int j = (int)(at % STRIDE);
        float root = 1.0f, scale = 1.0f;
        if (weight) {
            const float c = weight[column];
            root = sqrtf(c);
            scale = (c + w0) / root;
        }
        float x = 0.0f;
        if (j < FACTORS) {
            x = root * factors[column * FACTORS + j];
        } else if (j < UNKNOWNS || j == UNKNOWNS + 1) {
            x = scale;
        } else if (j == UNKNOWNS) {
            x = bias[column] + mean;
        }
        table[at] = x;
    }
}

// Σ (w0 + c) and Σ (w0 + c) (value − offset) over the ratings of every row; a warp a row.
extern "C" __global__ void __launch_bounds__(256) sum_weights(
    int n_rows, const long long* __restrict__ starts, const COLUMN* __restrict__ columns,
    const float* __restrict__ values, const float* __restrict__ weight, const float* __restrict__ bias, double mean,
    double w0, double* __restrict__ sums)
{
    const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= n_rows) {
        return;
    }
    double sum = 0.0, residual = 0.0;
    for (long long at = starts[row] + lane; at < starts[row + 1]; at += 32) {
        const long long column = columns[at];
        const double both = w0 + (double)weight[column];
        sum += both;
        residual += both * ((double)values[at] - ((double)bias[column] + mean));
    }
    sum = warp_sum(sum);
    residual = warp_sum(residual);
    if (lane == 0) {
        sums[2LL * row] = sum;
        sums[2LL * row + 1] = residual;
    }
}

// Σ of the lines of a table, n_columns by k, over the ratings of a part of a row; a warp a part.
//
// A part that is a whole row goes to `out`, in its row; the others go to `partial`, one after the other.
extern "C" __global__ void __launch_bounds__(256) sum_parts(
    int n_parts, const int* __restrict__ rows, const int* __restrict__ places, const long long* __restrict__ starts,
    const int* __restrict__ counts, const COLUMN* __restrict__ columns, const float* __restrict__ table,
    float* __restrict__ partial, float* __restrict__ out)
{
    const int part = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (part >= n_parts) {
        return;
    }
    const COLUMN* column = columns + starts[part];
    const int n = counts[part];
    float* to = places[part] < 0 ? out + (long long)rows[part] * FACTORS : partial + (long long)places[part] * FACTORS;
    for (int j = lane; j < FACTORS; j += 32) {
        float sum = 0.0f;
        for (int r = 0; r < n; ++r) {
            sum += table[(long long)column[r] * FACTORS + j];
        }
        to[j] = sum;
    }
}

// The sum of each long row's parts, in their order.
extern "C" __global__ void __launch_bounds__(256) join_sums(
    int n_long, const int* __restrict__ rows, const int* __restrict__ firsts,
    const float* __restrict__ partial, float* __restrict__ out)
{
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (long long)n_long * FACTORS) {
        return;
    }
    const int i = (int)(at / FACTORS), j = (int)(at % FACTORS);
    float sum = 0.0f;
    for (int part = firsts[i]; part < firsts[i + 1]; ++part) {
        sum += partial[(long long)part * FACTORS + j];
    }
    out[(long long)rows[i] * FACTORS + j] = sum;
}
