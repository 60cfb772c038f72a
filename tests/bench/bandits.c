/* The loops of kernels/bandits in plain C: the floor that the compiled kernels are measured against. Same random numbers, same rules. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint64_t bits(uint64_t key, uint64_t round, uint64_t index) {
    const uint64_t weyl = 0x9E3779B97F4A7C15u;
    uint64_t z = ((round << 20) | index) * weyl + weyl;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z = (z ^ (z >> 31)) ^ key;
    z = (z ^ (z >> 33)) * 0xFF51AFD7ED558CCDu;
    z = (z ^ (z >> 33)) * 0xC4CEB9FE1A85EC53u;
    return z ^ (z >> 33);
}

static inline double uniform(uint64_t key, uint64_t round, uint64_t index) {
    return ((double)(bits(key, round, index) >> 12) + 0.5) * 2.220446049250313e-16;
}

static double horner(const double *c, int n, double r) {
    double v = c[n - 1];
    for (int i = n - 2; i >= 0; i--) v = c[i] + r * v;
    return v;
}

static const double A[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
                           4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3};
static const double B[] = {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                           2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3};
static const double C[] = {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
                           1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
static const double D[] = {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                           1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9};
static const double E[] = {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
                           2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7};
static const double F[] = {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                           7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15};

static double normal(uint64_t key, uint64_t round, uint64_t index) {
    double p = uniform(key, round, index), q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * horner(A, 8, r) / horner(B, 8, r);
    }
    double r = sqrt(-log(q < 0 ? p : 1 - p)), v;
    if (r <= 5) { r -= 1.6; v = horner(C, 8, r) / horner(D, 8, r); }
    else { r -= 5; v = horner(E, 8, r) / horner(F, 8, r); }
    return q < 0 ? -v : v;
}

static int argmax(const double *s, int n) {
    double best = s[0];
    for (int i = 1; i < n; i++) best = s[i] > best ? s[i] : best;
    for (int i = 0; i < n; i++) if (s[i] >= best - 1e-9) return i;
    return 0;
}

static double bernoulli(uint64_t key, int64_t t, double mean) { return uniform(key, t, 0) < mean ? 1.0 : 0.0; }

static double regret_of(const int64_t *pulls, const double *means, int arms) {
    double best = means[0], total = 0;
    for (int i = 1; i < arms; i++) best = means[i] > best ? means[i] : best;
    for (int i = 0; i < arms; i++) total += pulls[i] * (best - means[i]);
    return total;
}

double ucb1(const double *means, int arms, int64_t horizon, double s, uint64_t noise_key) {
    int64_t pulls[64] = {0};
    double sums[64] = {0}, mean[64] = {0}, shrink[64] = {0}, scores[64];
    for (int64_t t = 1; t <= horizon; t++) {
        int arm = (int)t - 1;
        if (t > arms) {
            double bonus = s * sqrt(2 * log((double)t));
            for (int i = 0; i < arms; i++) scores[i] = mean[i] + bonus * shrink[i];
            arm = argmax(scores, arms);
        }
        pulls[arm]++;
        sums[arm] += bernoulli(noise_key, t, means[arm]);
        mean[arm] = sums[arm] / pulls[arm];
        shrink[arm] = 1 / sqrt((double)pulls[arm]);
    }
    return regret_of(pulls, means, arms);
}

double tsallis(const double *means, int arms, int64_t horizon, uint64_t method_key, uint64_t noise_key) {
    int64_t pulls[64] = {0};
    double losses[64] = {0}, p[64], depth = 0;
    for (int64_t t = 1; t <= horizon; t++) {
        double eta = 2 / sqrt((double)t), least = losses[0];
        for (int i = 1; i < arms; i++) least = losses[i] < least ? losses[i] : least;
        if (depth < 2 / eta) depth = 2 / eta;
        for (int k = 0; k < 60; k++) {
            double total = 0, slope = 0;
            for (int i = 0; i < arms; i++) {
                double w = 2 / (eta * (losses[i] - least + depth));
                p[i] = w * w;
                total += p[i];
                slope += p[i] * w;
            }
            double step = (total - 1) / (eta * slope);
            if (fabs(step) <= 1e-14 * depth) break;
            depth = depth + step > 2 / eta ? depth + step : 2 / eta;
        }
        double u = uniform(method_key, t, 0), total = 0;
        int arm = arms - 1;
        for (int i = 0; i < arms - 1; i++) {
            total += p[i];
            if (u < total) { arm = i; break; }
        }
        losses[arm] += (1 - bernoulli(noise_key, t, means[arm])) / p[arm];
        pulls[arm]++;
    }
    return regret_of(pulls, means, arms);
}

static double kl_upper(double mean, double level) {
    if (mean > 1 - 1e-15) return 1;
    if (mean <= 0) return 1 - exp(-level);
    double entropy = mean * log(mean) + (1 - mean) * log(1 - mean);
    double tail = (1 - mean) * exp(-(level - mean * log(mean)) / (1 - mean));
    double q = mean + sqrt(level / 2);
    if (q > 1 - tail) q = 1 - tail;
    if (q > 1 - 1e-15) return q;
    for (int k = 0; k < 50; k++) {
        double excess = entropy - mean * log(q) - (1 - mean) * log(1 - q) - level;
        double step = q > mean ? excess * q * (1 - q) / (q - mean) : 0;
        q -= step;
        if (step < 1e-13) break;
    }
    return q > mean ? q : mean;
}

double kl_ucb(const double *means, int arms, int64_t horizon, uint64_t noise_key) {
    int64_t pulls[64] = {0};
    double sums[64] = {0}, scores[64];
    for (int64_t t = 1; t <= horizon; t++) {
        int arm = (int)t - 1;
        if (t > arms) {
            double level = log((double)t);
            for (int i = 0; i < arms; i++) scores[i] = kl_upper(sums[i] / pulls[i], level / pulls[i]);
            arm = argmax(scores, arms);
        }
        pulls[arm]++;
        sums[arm] += bernoulli(noise_key, t, means[arm]);
    }
    return regret_of(pulls, means, arms);
}

/* OFUL with a flat radius. fresh = 0: features [d][arms] and means are given; 1: drawn on the sphere in every round. */
double oful(int fresh, double *features, double *means, const double *theta_star, int d, int arms, int64_t horizon, double lam, double beta,
            double noise, uint64_t data_key, uint64_t noise_key) {
    double *v = calloc(d * d, 8), *theta = calloc(d, 8), *u = calloc(d, 8), *x = calloc(d, 8);
    double *p = calloc(arms, 8), *q = calloc(arms, 8), *s = calloc(arms, 8), *row = calloc(arms, 8), regret = 0;
    for (int j = 0; j < d; j++) v[j * d + j] = 1 / lam;
    if (!fresh)
        for (int j = 0; j < d; j++)
            for (int i = 0; i < arms; i++) q[i] += features[j * arms + i] * features[j * arms + i] / lam;
    for (int64_t t = 1; t <= horizon; t++) {
        if (fresh) {
            memset(row, 0, arms * 8);
            for (int j = 0; j < d; j++)
                for (int i = 0; i < arms; i++) {
                    double z = normal(data_key, t, j * arms + i);
                    features[j * arms + i] = z;
                    row[i] += z * z;
                }
            for (int i = 0; i < arms; i++) { row[i] = 1 / sqrt(row[i]); means[i] = 0; p[i] = 0; q[i] = 0; }
            for (int j = 0; j < d; j++)
                for (int i = 0; i < arms; i++) {
                    features[j * arms + i] *= row[i];
                    means[i] += features[j * arms + i] * theta_star[j];
                    p[i] += features[j * arms + i] * theta[j];
                }
            for (int j = 0; j < d; j++) {
                memset(row, 0, arms * 8);
                for (int k = 0; k < d; k++)
                    for (int i = 0; i < arms; i++) row[i] += v[j * d + k] * features[k * arms + i];
                for (int i = 0; i < arms; i++) q[i] += row[i] * features[j * arms + i];
            }
        }
        double best = means[0];
        for (int i = 1; i < arms; i++) best = means[i] > best ? means[i] : best;
        for (int i = 0; i < arms; i++) s[i] = p[i] + beta * sqrt(q[i] > 0 ? q[i] : 0);
        int arm = argmax(s, arms);
        double y = means[arm] + noise * normal(noise_key, t, 0), scale = 1, guess = 0;
        for (int j = 0; j < d; j++) x[j] = features[j * arms + arm];
        memset(u, 0, d * 8);
        for (int j = 0; j < d; j++)
            for (int i = 0; i < d; i++) u[i] += v[j * d + i] * x[j];
        for (int j = 0; j < d; j++) { scale += x[j] * u[j]; guess += x[j] * theta[j]; }
        double root = sqrt(scale), step = (y - guess) / root;
        for (int j = 0; j < d; j++) { u[j] /= root; theta[j] += step * u[j]; }
        for (int i = 0; i < d; i++)
            for (int j = 0; j < d; j++) v[i * d + j] -= u[i] * u[j];
        if (!fresh) {
            memset(row, 0, arms * 8);
            for (int j = 0; j < d; j++)
                for (int i = 0; i < arms; i++) row[i] += features[j * arms + i] * u[j];
            for (int i = 0; i < arms; i++) { p[i] += step * row[i]; q[i] -= row[i] * row[i]; }
        }
        regret += best - means[arm];
    }
    free(v); free(theta); free(u); free(x); free(p); free(q); free(s); free(row);
    return regret;
}
