"""The two figures of the page on supernovae."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLORS = {"Ia": "#d62728", "II": "#1f77b4", "Ib": "#2ca02c", "Ic": "#ff7f0e", "SLSN": "#9467bd"}


def draw_spectra(path, wavelength, spectra, errors):
    """Panels of (title, flux, observed, decoded): data in black where observed, the reconstruction in red everywhere, with one standard
    error of its code (dark), and of that and the decoder together (light). `errors`: of the codes, a row each; of the decoder."""
    of_codes, of_decoder = errors
    figure, panels = plt.subplots(len(spectra) // 2, 2, figsize=(9, 6), sharex=True, constrained_layout=True)
    for panel, (title, flux, observed, decoded), band in zip(panels.flat, spectra, of_codes):
        whole = np.hypot(band, of_decoder)
        for half, shade in ((whole, 0.18), (band, 0.45)):
            panel.fill_between(wavelength, decoded - half, decoded + half, color="tab:red", alpha=shade, lw=0)
        panel.plot(wavelength, np.where(observed, flux, np.nan), color="black", lw=0.7)
        panel.plot(wavelength, decoded, color="tab:red", lw=0.9)
        seen = flux[observed]
        low, high = min(seen.min(), decoded[observed].min()), max(seen.max(), decoded[observed].max())
        margin = 0.3 * (high - low)
        panel.set(title=title, ylim=(low - margin, high + margin), xlim=(wavelength[0], wavelength[-1]), xscale="log")
        panel.title.set_fontsize(9)
        ticks = [3000, 4000, 5000, 6000, 8000, 10000]
        panel.set_xticks([tick for tick in ticks if wavelength[0] < tick < wavelength[-1]])
        panel.minorticks_off()
        panel.xaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
        panel.tick_params(labelsize=8)
    figure.supxlabel("wavelength / angstrom", fontsize=9)
    figure.supylabel("flux without continuum", fontsize=9)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def draw_codes(path, z, kinds):
    """The codes on their first four principal axes, colored by type."""
    finite = np.isfinite(z).all(1)
    z, kinds = z[finite], kinds[finite]
    centered = z - z.mean(0)
    axes = np.linalg.svd(centered, full_matrices=False)[2]
    along = centered @ axes.T
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), constrained_layout=True)
    for panel, (a, b) in zip(panels, ((0, 1), (2, 3))):
        for kind in [None, *COLORS]:
            mine = kinds == kind if kind else ~np.isin(kinds, list(COLORS))
            panel.scatter(*along[mine][:, (a, b)].T, s=9, lw=0, alpha=0.8, c=COLORS.get(kind, "0.6"), label=kind or "others")
        panel.set_xlabel(f"principal axis {a + 1} of the codes", fontsize=9)
        panel.set_ylabel(f"principal axis {b + 1}", fontsize=9)
        panel.tick_params(labelsize=8)
        for set_limits, axis in ((panel.set_xlim, a), (panel.set_ylim, b)):
            low, high = np.percentile(along[:, axis], [1, 99])
            set_limits(low - 0.1 * (high - low), high + 0.1 * (high - low))
    panels[0].legend(fontsize=8, markerscale=2, framealpha=0.9)
    figure.savefig(path, dpi=100, metadata={"Software": None})
