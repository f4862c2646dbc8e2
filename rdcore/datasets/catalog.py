"""The named data sets: where each file comes from, how it is recognised, under which terms, and whom to cite."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One place that a file can be brought from, as it stands or inside an archive.

    url: downloaded by pooch; or requirement: a wheel brought by `pip download`, for machines that reach only a package
    index. archive: the sha256 of what is downloaded, checked when a `member` is taken out of it. skip_lines: how many
    leading lines of the member do not belong to the file.
    """

    url: str = ""
    requirement: str = ""
    archive: str = ""
    member: str = ""
    skip_lines: int = 0

    def __str__(self) -> str:
        return self.url or f"pip download {self.requirement}"


@dataclass(frozen=True)
class File:
    """A file of a data set, at `path` below the data set's folder. Whatever its source, it is accepted only with this
    size (bytes) and sha256. git_blob: its id in the repository that published it, where there is one."""

    path: str
    size: int
    sha256: str
    sources: tuple[Source, ...]
    git_blob: str = ""


@dataclass(frozen=True)
class DataSet:
    """An entry of the catalog. `files` is empty for data that is generated. `content` is the sha256 of the interactions
    that `load` makes of the files, so that a run can be described (and its record found) without the files."""

    name: str
    title: str
    licence: str
    citation: str
    homepage: str = ""
    files: tuple[File, ...] = ()
    content: str = ""


# The last commit of the official repository. The blob ids are the ones that commit records, so they prove that these are
# the authors' files and not only the files that we once saw.
GOWALLA = "https://raw.githubusercontent.com/graytowne/rank_distill/4fb52376858b22f89f8d2b8b59e19b46fa6584a0/datasets/gowalla"


def _gowalla(path: str, size: int, sha256: str, git_blob: str) -> File:
    return File(path, size, sha256, (Source(url=f"{GOWALLA}/{path}"),), git_blob)


# What is pinned for MovieLens-100K is u.data itself, by the hash that others publish for GroupLens's file too. The .inter
# file in the recbole wheel is u.data, byte for byte, below one header line; so both sources end in one and the same file.
# The archive's published md5 is 0e33842e24a9c977be4e0107933c0723; the sha256 below belongs to the same 4,924,029 bytes
# according to those who publish both. It was not downloaded for this project, but u.data's own hash decides in any case.
U_DATA = File(
    "u.data",
    1_979_173,
    "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    (
        Source(
            url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            archive="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            member="ml-100k/u.data",
        ),
        Source(
            requirement="recbole==1.2.1",
            archive="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            member="recbole/dataset_example/ml-100k/ml-100k.inter",
            skip_lines=1,
        ),
    ),
)

# A repository that re-publishes New York's check-ins. It was made for another paper, so the blob ids, computed from the
# files, say that nothing changed since, not that RD's authors ever saw them. It holds 179,468 of the original 227,428
# check-ins (its authors' count), and no place with fewer than 5 of them.
NYC = "https://raw.githubusercontent.com/tanloc49/SEP-GCN/2ca16e1cf009efb3553b7cc81d1f1e172b30dee9/data/nyc"


def _nyc(path: str, size: int, sha256: str, git_blob: str) -> File:
    return File(path, size, sha256, (Source(url=f"{NYC}/{path}"),), git_blob)


# The last commit of DE-RRD's repository. The blob ids are computed from the files. The repository lists only
# a file of the teacher's for Git LFS, so the split should come as it stands; a pointer in its place would fail its hash.
# The 499 sampled negatives a user, which the paper ranks the held-out items among, could not be found.
DE_RRD = "https://raw.githubusercontent.com/SeongKu-Kang/DE-RRD_CIKM20/97b6bf6fa70caecb26f22b539763f476a1843949"


def _citeulike(path: str, size: int, sha256: str, git_blob: str) -> File:
    return File(path, size, sha256, (Source(url=f"{DE_RRD}/Dataset/citeULike/LOO/{path}"),), git_blob)


# Another paper's repository; the blob id is computed. Nobody here has fewer than 9 places, no place fewer than 9 users. The
# numbers of users and places are those of the check-ins of Liu et al., which DE-RRD's authors name as their source too. But
# no minimum of places a user turns them into DE-RRD's 19,466 users with 609,655 interactions (tests/data/test_foursquare.py).
HYPERKDMA = "https://raw.githubusercontent.com/hieunm44/hyperkdma/2b4c38b881549d3b09e551a2ba77c695e22cf55d/datasets/Foursquare"

CATALOG: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        DataSet(
            name="gowalla",
            title="Gowalla check-ins, the Ranking Distillation paper's own split",
            licence="no licence stated by the repository or by SNAP, which published the check-ins; fetched, never shipped",
            citation="E. Cho, S. A. Myers, J. Leskovec: Friendship and Mobility. KDD 2011, doi:10.1145/2020408.2020579; "
            "split: J. Tang, K. Wang: Ranking Distillation. KDD 2018, doi:10.1145/3219819.3220021",
            homepage="https://github.com/graytowne/rank_distill",
            content="5cb75d14c1c39425ed557bf5f631d7633d4bfc6808b2e3cf6bbc215ff1aae32f",
            files=(
                _gowalla(
                    "test/train.txt",
                    5_204_194,
                    "5598d1fe18d9e7fe8d3301d9da566b7ef144efa54677c871bc811b5a0ca0ffcb",
                    "0be3446a61c0841109aec2c9ab70db0797737e0f",
                ),
                _gowalla(
                    "test/test.txt",
                    1_223_882,
                    "5cc03ad74b486933568f5153eeb9715c1c469b9bcafff1b3524fdd8605a366bc",
                    "325262b29d182ea4062b641866a77fe77e129987",
                ),
                _gowalla(
                    "validation/train.txt",
                    4_575_259,
                    "1eb20e41ea0e7e39c74eb028d283853854860bbb2852ce08d8938c48e98f074d",
                    "c762a1270dd64ba18c8612b22419fd124ebce63e",
                ),
                _gowalla(
                    "validation/test.txt",
                    628_935,
                    "fd0b6af1b9f6d9c77c6766a1392774b0414ec21203e3f2015fca6e69af2c1dcb",
                    "24db5da696cbaa99ef8c38f0d97ee8b0d9bc0e36",
                ),
            ),
        ),
        DataSet(
            name="ml-100k",
            title="MovieLens-100K: 100,000 ratings with timestamps",
            licence="GroupLens's terms: research use, no redistribution, no commercial use without permission; fetched, "
            "never shipped",
            citation="F. M. Harper, J. A. Konstan: The MovieLens Datasets. ACM TiiS 5(4), 2015, doi:10.1145/2827872",
            homepage="https://grouplens.org/datasets/movielens/100k/",
            content="1b56b1318758998e43e8d151557c2e523e6be8b0784553688ce29927becc934a",
            files=(U_DATA,),
        ),
        DataSet(
            name="foursquare-nyc",
            title="Foursquare check-ins in New York: a stand-in for the Ranking Distillation paper's Foursquare, not its data",
            licence="no licence stated, as far as known, by the repository that publishes these files; fetched, never shipped",
            citation="D. Yang, D. Zhang, V. W. Zheng, Z. Yu: Modeling User Activity Preference by Leveraging User Spatial "
            "Temporal Characteristics in LBSNs. IEEE TSMC: Systems 45(1), 2015, doi:10.1109/TSMC.2014.2327053; "
            "files: T. L. Nguyen, T. T. Tran: SEP-GCN. ICTIR 2025, doi:10.1145/3731120.3744576",
            homepage="https://github.com/tanloc49/SEP-GCN",
            content="afcc10b1213bce23ab374e735e64a4fb35ebdfd8828236f5fd559ddcc99d50ee",
            files=(  # items and times of one part, then of the other: `load` takes them in this order
                _nyc(
                    "train.txt",
                    614_604,
                    "326e0a5025634c175a111f364bbae20a1de2c32a177d805d3b7c14b92ec45a77",
                    "c858b010d7b54243ca33eb038dcccb48ef49046a",
                ),
                _nyc(
                    "time_train.txt",
                    1_380_614,
                    "b86d2886073952e2050bbd453812d96bd1014ecae5c633a9802b9371a6bc7af4",
                    "369f126eebd37476323c8514c512531d62b39d75",
                ),
                _nyc(
                    "test.txt",
                    269_591,
                    "ab31a5570539344292cc543923381c654042bb6d613edf4efffb24ceeb73a266",
                    "bd050c58f3de6d4bd1801027128aed39f70d74ca",
                ),
                _nyc(
                    "time_test.txt",
                    602_144,
                    "d5c4ba71a3f964f08284a15ee79b424af7865c52eb67b256917d8166775d92b2",
                    "f2dcc5e8abedf39ca8e38a2ed453f9335d219649",
                ),
            ),
        ),
        DataSet(
            name="citeulike",
            title="CiteULike libraries, DE-RRD's own leave-one-out split (fold 0, the only one published)",
            licence="no licence stated, as far as known, by the repository that publishes the split; fetched, never shipped",
            citation="H. Wang, B. Chen, W.-J. Li: Collaborative Topic Regression with Social Regularization for Tag "
            "Recommendation. IJCAI 2013; split: S. Kang, J. Hwang, W. Kweon, H. Yu: DE-RRD. CIKM 2020, "
            "doi:10.1145/3340531.3412005",
            homepage="https://github.com/SeongKu-Kang/DE-RRD_CIKM20",
            content="1dcc62d4364e39b43444fc71e609c7c1973854eb3e85a3331f1414372fd31773",
            files=(  # `load` takes them in this order
                _citeulike(
                    "train_mat_0",
                    627_799,
                    "b69e4a93a0a3f01dfe7668358d96eb866af9a28b61461798c19958af5750aedd",
                    "0d057a829eb9d38fa35598ee957eb6fba763b59e",
                ),
                _citeulike(
                    "valid_sample_0",
                    30_863,
                    "8f258804ffeb3ddc5aff8d669e5ed98377010346cedbf3186f18c0523499d441",
                    "67ede3ee68b4f38154b02c91116ce36781dfa45d",
                ),
                _citeulike(
                    "test_sample_0",
                    30_877,
                    "34f3ab9dba594c0b8ff43145e6d7e08e121fc6217b9bd13444a1c27f93a4f0b1",
                    "e0ae542b7874b28f1b9207f18ca2f007aec2d369",
                ),
                _citeulike(
                    "counts",
                    12,
                    "c40bc00288a6a4dbd58980572ae71e0ccc2619b4f3b3da2de02305fc3e831dc6",
                    "5633a45cc339605cb04e0138bf580caa8cb58741",
                ),
            ),
        ),
        DataSet(
            name="foursquare",
            title="Foursquare check-ins without times: a stand-in for DE-RRD's Foursquare, not its data",
            licence="no licence stated, as far as known, by the repository that publishes this file; fetched, never shipped",
            citation="Y. Liu, T.-A. N. Pham, G. Cong, Q. Yuan: An Experimental Evaluation of Point-of-interest Recommendation "
            "in Location-based Social Networks. PVLDB 10(10), 2017 (as the numbers of users and places suggest); "
            "file: the repository of HyperKDMA: Distilling Recommender Systems via Hypernetwork-based Teacher Assistants",
            homepage="https://github.com/hieunm44/hyperkdma",
            content="566fd1faf96ae592d461156496c1242bae81d34149dcb6d26a53c8fd59c2cd0a",
            files=(
                File(
                    "users.dat",
                    3_937_712,
                    "808c42ee414bdef5990e4f61143e2e02f1d266c59b303f37b4050a99d2536c78",
                    (Source(url=f"{HYPERKDMA}/users.dat"),),
                    "54d41e1a5d9681da287a3b4a66a3c0df608d936e",
                ),
            ),
        ),
        DataSet(
            name="synthetic",
            title="generated sequences with a planted structure (rdcore.data.synthetic)",
            licence="none needed",
            citation="none needed",
        ),
    )
}
