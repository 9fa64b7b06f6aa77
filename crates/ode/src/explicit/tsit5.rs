//! The Runge-Kutta pair of orders 5 and 4 by Tsitouras, with its free interpolant.

use super::Tableau;

/// Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption, Comput. Math. Appl.
/// 62, 770 (2011), table 1. The seventh stage is the slope at the end of the step.
#[allow(clippy::excessive_precision)] // As the paper prints them.
pub static TSIT5: Tableau = Tableau {
    order: 5,
    a: &[
        &[0.161],
        &[-0.008480655492356989, 0.335480655492357],
        &[2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        &[
            5.325864828439257,
            -11.748883564062828,
            7.4955393428898365,
            -0.09249506636175525,
        ],
        &[
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ],
    ],
    b: &[
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ],
    c: &[0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0],
    d: Some(&[
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ]),
    dense: Some(dense),
};

/// Weights of the seven slopes at the fraction `theta`: the same paper, section 4, an error of O(h^5).
#[allow(clippy::excessive_precision)] // As the paper prints them.
fn dense(theta: f64, weights: &mut [f64]) {
    let (s, q) = (theta, theta * theta);
    weights.copy_from_slice(&[
        -1.0530884977290216 * s * (s - 1.3299890189751412) * (q - 1.4364028541716351 * s + 0.7139816917074209),
        0.1017 * q * (q - 2.1966568338249754 * s + 1.2949852507374631),
        2.490627285651252793 * q * (q - 2.38535645472061657 * s + 1.57803468208092486),
        -16.54810288924490272 * (s - 1.21712927295533244) * (s - 0.61620406037800089) * q,
        47.37952196281928122 * (s - 1.203071208372362603) * (s - 0.658047292653547382) * q,
        -34.87065786149660974 * (s - 1.2) * (s - 0.666666666666666667) * q,
        2.5 * (s - 1.0) * (s - 0.6) * q,
    ]);
}
